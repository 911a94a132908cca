/* Any bytes as rows; the first byte says of which kind, and how many columns a row has. */
#include <math.h>
#include <stdlib.h>

#include "forest.h"

#define MOST_COLUMNS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size)
        return 0;
    uint32_t columns = data[0] / 4 % MOST_COLUMNS + 1, base = data[0] / 2 % 2;
    size_t count = 1, lines = 1;
    float *rows = data[0] % 2 ? libsvm_rows(data + 1, size - 1, columns, base, &count)
                              : csv_rows(data + 1, size - 1, columns, &count);
    for (size_t i = 1; i < size; i++)
        lines += data[i] == '\n';
    if (!rows != !count || count > lines)
        abort();
    for (size_t i = 0; i < count * columns; i++)
        if (isinf(rows[i]))
            abort();
    free(rows);
    return 0;
}
