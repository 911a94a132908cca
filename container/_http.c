/* Plain HTTP/1.1 messages, each read whole in one call.
 *
 * Plain is what clients and MMS send nearly always. All else is None: what is incomplete, what is
 * followed by more, what is written oddly, what says anything about the connection. It is left to a
 * parser that knows all of HTTP, which must find in what is plain here what is found here.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#define MAX_HEAD 8192
#define MAX_LENGTH_DIGITS 8
#define MAX_NAME 64

static PyObject *content_type, *content_length;

/* What a header means to the reader. */
enum { OTHER, LENGTH, HOST, TYPE, CONNECTION, REFUSED };

static const struct {
    const char *name;
    size_t size;
    int kind;
} KNOWN[] = {
    {"content-length", 14, LENGTH},   {"host", 4, HOST},
    {"content-type", 12, TYPE},       {"connection", 10, CONNECTION},
    {"transfer-encoding", 17, REFUSED}, {"content-encoding", 16, REFUSED},
    {"proxy-connection", 16, REFUSED},  {"expect", 6, REFUSED},
    {"upgrade", 7, REFUSED},
};

static int kind_of(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (KNOWN[i].size == size && memcmp(KNOWN[i].name, name, size) == 0)
            return KNOWN[i].kind;
    return OTHER;
}

/* A letter in lower case, a digit, a dash; 0 for what a plain name has not. */
static char name_character(unsigned char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')
        return (char)c;
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : 0;
}

static int is_visible(unsigned char c)
{
    return c > 0x20 && c < 0x7f;
}

static int is_keep_alive(const char *text, size_t size)
{
    static const char expected[] = "keep-alive";
    if (size != sizeof expected - 1)
        return 0;
    for (size_t i = 0; i < size; i++)
        if (name_character((unsigned char)text[i]) != expected[i])
            return 0;
    return 1;
}

/* The number that a few digits are; -1 for all else. */
static Py_ssize_t number(const char *text, size_t size)
{
    Py_ssize_t value = 0;
    if (size < 1 || size > MAX_LENGTH_DIGITS)
        return -1;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        value = 10 * value + (text[i] - '0');
    }
    return value;
}

/* One header; `name` and `value` point into the message, but for the name's lower case. */
struct header {
    char name[MAX_NAME];
    size_t name_size;
    const char *value;
    size_t value_size;
    int kind;
};

/* Read one header line at `at`, which ends before `end`. Where the next begins; NULL if not plain. */
static const char *read_header(const char *at, const char *end, struct header *header)
{
    size_t size = 0;
    for (; at < end && *at != ':'; at++) {
        char c = name_character((unsigned char)*at);
        if (!c || size == MAX_NAME)
            return NULL;
        header->name[size++] = c;
    }
    if (!size || at == end)
        return NULL;
    header->name_size = size;
    header->kind = kind_of(header->name, size);
    at++;
    if (at < end && *at == ' ')
        at++;
    header->value = at;
    while (at < end && (is_visible((unsigned char)*at) || *at == ' '))
        at++;
    header->value_size = (size_t)(at - header->value);
    if (end - at < 2 || at[0] != '\r' || at[1] != '\n')
        return NULL;
    if (!header->value_size || header->value[0] == ' ' || at[-1] == ' ')
        return NULL;
    return at + 2;
}

/* What is noted of the headers that both kinds of message have. */
struct seen {
    Py_ssize_t length;
    int host;
};

/* Note a header. 0 if it is not plain, or is the second of its kind. */
static int note(struct seen *seen, const struct header *header)
{
    switch (header->kind) {
    case REFUSED:
        return 0;
    case CONNECTION:
        return is_keep_alive(header->value, header->value_size);
    case LENGTH:
        if (seen->length >= 0)
            return 0;
        seen->length = number(header->value, header->value_size);
        return seen->length >= 0;
    case HOST:
        return !seen->host++;
    default:
        return 1;
    }
}

/* 0 if there is one of that name already, -1 for an error. */
static int put(PyObject *headers, const struct header *header)
{
    Py_ssize_t before = PyDict_Size(headers);
    PyObject *name = NULL;
    int done = -1;
    if (header->kind == TYPE || header->kind == LENGTH) {
        name = header->kind == TYPE ? content_type : content_length;
        Py_INCREF(name);
    } else {
        name = PyBytes_FromStringAndSize(header->name, (Py_ssize_t)header->name_size);
    }
    PyObject *value = PyBytes_FromStringAndSize(header->value, (Py_ssize_t)header->value_size);
    if (name && value && PyDict_SetItem(headers, name, value) == 0)
        done = PyDict_Size(headers) > before;
    Py_XDECREF(name);
    Py_XDECREF(value);
    return done;
}

static PyObject *read_request(PyObject *module, PyObject *message)
{
    static const char method[] = "POST ", version[] = " HTTP/1.1\r\n";
    const size_t method_size = sizeof method - 1, version_size = sizeof version - 1;
    struct header header;
    struct seen seen = {-1, 0};
    char *data;
    Py_ssize_t size;
    (void)module;
    if (PyBytes_AsStringAndSize(message, &data, &size) < 0)
        return NULL;
    const char *end = data + size;
    if ((size_t)(end - data) < method_size || memcmp(data, method, method_size) != 0)
        Py_RETURN_NONE;
    const char *head_end = end - data > MAX_HEAD ? data + MAX_HEAD : end;
    const char *target = data + method_size, *at = target;
    while (at < head_end && is_visible((unsigned char)*at) && !strchr("#\"<>?\\^`{|}", *at))
        at++;
    const char *target_end = at;
    if (at == target || *target != '/' || (size_t)(head_end - at) < version_size ||
        memcmp(at, version, version_size) != 0)
        Py_RETURN_NONE;
    at += version_size;
    PyObject *headers = PyDict_New();
    if (!headers)
        return NULL;
    while (at < head_end && *at != '\r') {
        int stored;
        at = read_header(at, head_end, &header);
        if (!at || !note(&seen, &header))
            goto not_plain;
        stored = put(headers, &header);
        if (stored < 0) {
            Py_DECREF(headers);
            return NULL;
        }
        if (!stored)
            goto not_plain;
    }
    if (head_end - at < 2 || at[1] != '\n' || !seen.host || seen.length < 0 ||
        end - (at + 2) != seen.length)
        goto not_plain;
    at += 2;
    return Py_BuildValue("(y#Ny#)", target, (Py_ssize_t)(target_end - target), headers, at,
                         (Py_ssize_t)(end - at));
not_plain:
    Py_DECREF(headers);
    Py_RETURN_NONE;
}

static PyObject *read_reply(PyObject *module, PyObject *message)
{
    static const char status[] = "HTTP/1.1 200 ";
    const size_t status_size = sizeof status - 1;
    struct header header;
    struct seen seen = {-1, 0};
    char *data;
    Py_ssize_t size;
    const char *type = NULL;
    size_t type_size = 0;
    (void)module;
    if (PyBytes_AsStringAndSize(message, &data, &size) < 0)
        return NULL;
    const char *end = data + size;
    if ((size_t)(end - data) < status_size || memcmp(data, status, status_size) != 0)
        Py_RETURN_NONE;
    const char *head_end = end - data > MAX_HEAD ? data + MAX_HEAD : end;
    const char *at = data + status_size;
    while (at < head_end && (is_visible((unsigned char)*at) || *at == ' '))
        at++;
    if (head_end - at < 2 || at[0] != '\r' || at[1] != '\n')
        Py_RETURN_NONE;
    at += 2;
    while (at < head_end && *at != '\r') {
        at = read_header(at, head_end, &header);
        if (!at || !note(&seen, &header) || (header.kind == TYPE && type))
            Py_RETURN_NONE;
        if (header.kind == TYPE) {
            type = header.value;
            type_size = header.value_size;
        }
    }
    if (head_end - at < 2 || at[1] != '\n' || !type || seen.length < 0 ||
        end - (at + 2) != seen.length)
        Py_RETURN_NONE;
    at += 2;
    return Py_BuildValue("(y#y#)", type, (Py_ssize_t)type_size, at, (Py_ssize_t)(end - at));
}

static PyMethodDef methods[] = {
    {"read_request", read_request, METH_O,
     "Target, headers and body of a POST that is whole and plain; None for all else."},
    {"read_reply", read_reply, METH_O,
     "Content type and body of an answer that is whole and plain; None for all else."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "container._http", "Plain HTTP/1.1 messages.", -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__http(void)
{
    content_type = PyBytes_FromString("content-type");
    content_length = PyBytes_FromString("content-length");
    if (!content_type || !content_length)
        return NULL;
    return PyModule_Create(&definition);
}
