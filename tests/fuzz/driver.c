/* Files for a fuzzer's function, where there is no fuzzer: each is tried once. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int try_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        return 0;
    long size = ftell(file);
    rewind(file);
    uint8_t *data = size < 0 ? NULL : malloc(size ? (size_t)size : 1);
    int read = data && fread(data, 1, (size_t)size, file) == (size_t)size;
    fclose(file);
    if (read)
        LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    return read;
}

int main(int count, char **paths) {
    for (int i = 1; i < count; i++) {
        if (!try_file(paths[i])) {
            fprintf(stderr, "%s cannot be read\n", paths[i]);
            return 1;
        }
    }
    printf("%d files\n", count - 1);
    return 0;
}
