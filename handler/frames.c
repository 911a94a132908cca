/* An invocation of the gate, taken out of MMS's frame in one pass: handler/_frames.pyi.
 *
 * What is here is what frames.py and envelope.py read, in the one case that comes all day: one whole
 * frame, of one invocation, with nothing that is seldom. Anything else is theirs. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define HEAD 22 /* bytes of an envelope before its texts */
#define TEXTS 5 /* model, content type, accept, attributes, directory */

static const char media_type[] = "application/x-mme", type_header[] = "content-type";

struct part {
    const uint8_t *at;
    size_t size;
};

struct frame {
    const uint8_t *at, *end;
};

/* An integer of the frame, which is big-endian; 0 where there is none. */
static int integer(struct frame *frame, int32_t *value) {
    if (frame->end - frame->at < 4)
        return 0;
    const uint8_t *at = frame->at;
    *value = (int32_t)((uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]);
    frame->at += 4;
    return 1;
}

static int string(struct frame *frame, struct part *part) {
    int32_t size;
    if (!integer(frame, &size) || size < 0 || size > frame->end - frame->at)
        return 0;
    *part = (struct part){frame->at, (size_t)size};
    frame->at += size;
    return 1;
}

static int ends(struct frame *frame) {
    struct frame before = *frame;
    int32_t mark;
    if (integer(frame, &mark) && mark == -1)
        return 1;
    *frame = before;
    return 0;
}

static int is(struct part part, const char *text, int any_case) {
    if (part.size != strlen(text))
        return 0;
    for (size_t i = 0; i < part.size; i++) {
        uint8_t byte = part.at[i];
        if (any_case && byte >= 'A' && byte <= 'Z')
            byte += 'a' - 'A';
        if (byte != (uint8_t)text[i])
            return 0;
    }
    return 1;
}

/* The request's id and the body of the one request, where it is of the gate. */
static int open_frame(struct frame *frame, struct part *id, struct part *body) {
    struct part name, value, kind;
    int ours = 0;
    if (frame->at == frame->end || *frame->at++ != 'I' || !string(frame, id))
        return 0;
    while (!ends(frame)) {
        if (!string(frame, &name) || !string(frame, &value))
            return 0;
        if (is(name, type_header, 1)) {
            if (!is(value, media_type, 0))
                return 0;
            ours = 1;
        }
    }
    return ours && string(frame, &name) && is(name, "body", 0) && string(frame, &kind) &&
           string(frame, body) && ends(frame) && ends(frame) && frame->at == frame->end;
}

static int open_envelope(struct part data, double *until, struct part *texts, struct part *body) {
    if (data.size < HEAD || memcmp(data.at, "mmi", 3))
        return 0;
    uint64_t bits = 0;
    for (int i = 7; i >= 0; i--)
        bits = bits << 8 | data.at[4 + i];
    memcpy(until, &bits, sizeof *until);
    size_t at = HEAD;
    for (int i = 0; i < TEXTS; i++) {
        size_t size = data.at[12 + 2 * i] | (size_t)data.at[13 + 2 * i] << 8;
        if (size > data.size - at)
            return 0;
        texts[i] = (struct part){data.at + at, size};
        at += size;
    }
    *body = (struct part){data.at + at, data.size - at};
    return 1;
}

static PyObject *open_invocation(PyObject *module, PyObject *data) {
    char *bytes;
    Py_ssize_t size;
    struct part id, sealed, body, text[TEXTS];
    double until;
    (void)module;
    if (PyBytes_AsStringAndSize(data, &bytes, &size) < 0)
        return NULL;
    struct frame frame = {(const uint8_t *)bytes, (const uint8_t *)bytes + size};
    if (!open_frame(&frame, &id, &sealed) || !open_envelope(sealed, &until, text, &body) ||
        !(until > 0) || text[3].size || text[4].size)
        return Py_NewRef(Py_None);
    PyObject *opened = Py_BuildValue(
        "(y#ds#s#s#y#)", (const char *)id.at, (Py_ssize_t)id.size, until,
        (const char *)text[0].at, (Py_ssize_t)text[0].size, (const char *)text[1].at,
        (Py_ssize_t)text[1].size, (const char *)text[2].at, (Py_ssize_t)text[2].size,
        (const char *)body.at, (Py_ssize_t)body.size);
    if (!opened && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        return Py_NewRef(Py_None);
    }
    return opened;
}

static PyMethodDef functions[] = {
    {"open_invocation", open_invocation, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_frames", .m_size = 0, .m_methods = functions,
};

PyMODINIT_FUNC PyInit__frames(void) {
    return PyModule_Create(&definition);
}
