/* The forest in Python: handler/forest/_forest.pyi says what is here. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forest.h"

#define MOST_NUMBERS (1 << 20) /* of one answer in Python's objects */
#define LONG_WORK 20000 /* of rows times trees, or bytes of text: other threads may run meanwhile */

typedef struct {
    PyObject_HEAD
    struct forest *forest;
    PyObject *note; /* the caller's own; never what refers to this one, for it is not collected */
} Forest;

static PyTypeObject *forest_type;

static void forest_dealloc(Forest *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    free(self->forest);
    Py_XDECREF(self->note);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyObject *texts(const struct text *from, uint32_t count) {
    PyObject *all = PyTuple_New(count);
    for (uint32_t i = 0; all && i < count; i++) {
        PyObject *one = PyUnicode_DecodeUTF8((const char *)from[i].at, from[i].size, NULL);
        if (!one || PyTuple_SetItem(all, i, one) < 0)
            Py_CLEAR(all);
    }
    return all;
}

static PyObject *described(struct forest *forest, const struct about *about) {
    Forest *self = PyObject_New(Forest, forest_type);
    if (!self) {
        free(forest);
        return NULL;
    }
    self->forest = forest;
    self->note = Py_NewRef(Py_None);
    PyObject *names = texts(about->name_of, about->names);
    PyObject *types = texts(about->type_of, about->types);
    PyObject *objective = PyUnicode_DecodeUTF8((const char *)about->objective.at,
                                               about->objective.size, NULL);
    if (!names || !types || !objective) {
        Py_XDECREF(objective);
        Py_XDECREF(names);
        Py_XDECREF(types);
        Py_DECREF(self);
        return NULL;
    }
    return Py_BuildValue("(N(III)NIIINN)", self, about->version[0], about->version[1],
                         about->version[2], objective, about->features, about->classes,
                         about->targets, names, types);
}

static PyObject *read_model(PyObject *module, PyObject *arguments) {
    Py_buffer data;
    struct wish wish;
    struct forest *forest;
    struct about about;
    enum refusal refusal;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*IIIf", &data, &wish.runtime[0], &wish.runtime[1],
                          &wish.rounds, &wish.missing))
        return NULL;
    if (data.len > LONG_WORK) {
        Py_BEGIN_ALLOW_THREADS
        refusal = forest_read(data.buf, (size_t)data.len, &wish, &forest, &about);
        Py_END_ALLOW_THREADS
    } else {
        refusal = forest_read(data.buf, (size_t)data.len, &wish, &forest, &about);
    }
    PyObject *answer = NULL;
    if (refusal == GROWN)
        answer = described(forest, &about);
    else if (refusal == NO_MEMORY)
        PyErr_NoMemory();
    else
        answer = Py_NewRef(Py_None);
    about_free(&about);
    PyBuffer_Release(&data);
    return answer;
}

/* Predict rows that are the caller's to change. */
static void ask(const struct forest *forest, float *rows, size_t count, int margin, float *out) {
    if (count * ((uint64_t)forest->trees * forest->leaf_words + forest->groups) > LONG_WORK) {
        Py_BEGIN_ALLOW_THREADS
        forest_mark_missing(forest, rows, count);
        forest_predict(forest, rows, count, margin, out);
        Py_END_ALLOW_THREADS
    } else {
        forest_mark_missing(forest, rows, count);
        forest_predict(forest, rows, count, margin, out);
    }
}

static PyObject *predict(Forest *self, PyObject *arguments) {
    const struct forest *forest = self->forest;
    Py_buffer buffer;
    int margin;
    if (!PyArg_ParseTuple(arguments, "y*p", &buffer, &margin))
        return NULL;
    size_t row_bytes = forest->features * sizeof(float), count = (size_t)buffer.len / row_bytes;
    PyObject *answer = NULL;
    float *rows = buffer.buf, *out = malloc(count * forest->groups * sizeof *out + 1);
    if (!isnan(forest->missing) && (rows = malloc((size_t)buffer.len + 1)))
        memcpy(rows, buffer.buf, (size_t)buffer.len);
    if ((size_t)buffer.len % row_bytes) {
        PyErr_SetString(PyExc_ValueError, "the rows are of another width");
    } else if (!rows || !out) {
        PyErr_NoMemory();
    } else {
        ask(forest, rows, count, margin, out);
        size_t bytes = count * forest_outputs(forest, margin) * sizeof *out;
        answer = PyBytes_FromStringAndSize((const char *)out, (Py_ssize_t)bytes);
    }
    if (rows != buffer.buf)
        free(rows);
    free(out);
    PyBuffer_Release(&buffer);
    return answer;
}

static PyObject *listed(const float *values, size_t count) {
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *value = PyFloat_FromDouble(values[i]);
        if (!value || PyList_SetItem(list, (Py_ssize_t)i, value) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *listed_rows(const float *values, size_t count, uint32_t outputs) {
    if (outputs == 1)
        return listed(values, count);
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *row = listed(values + i * outputs, outputs);
        if (!row || PyList_SetItem(list, (Py_ssize_t)i, row) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static float *rows_of(const struct forest *forest, const Py_buffer *text, int base,
                      size_t *count) {
    if (base < 0)
        return csv_rows(text->buf, (size_t)text->len, forest->features, count);
    return libsvm_rows(text->buf, (size_t)text->len, forest->features, (uint32_t)base, count);
}

static PyObject *answer(Forest *self, PyObject *const *arguments, Py_ssize_t given) {
    const struct forest *forest = self->forest;
    Py_buffer text;
    float *rows, *out = NULL;
    size_t count;
    if (given != 2) {
        PyErr_SetString(PyExc_TypeError, "answer(text, base)");
        return NULL;
    }
    long base = PyLong_AsLong(arguments[1]);
    if ((base == -1 && PyErr_Occurred()) ||
        PyObject_GetBuffer(arguments[0], &text, PyBUF_SIMPLE) < 0)
        return NULL;
    if (text.len > LONG_WORK) {
        Py_BEGIN_ALLOW_THREADS
        rows = rows_of(forest, &text, (int)base, &count);
        Py_END_ALLOW_THREADS
    } else {
        rows = rows_of(forest, &text, (int)base, &count);
    }
    PyBuffer_Release(&text);
    PyObject *answer = NULL;
    if (!rows || (uint64_t)count * forest->groups > MOST_NUMBERS) {
        answer = Py_NewRef(Py_None);
    } else if (!(out = malloc(count * forest->groups * sizeof *out))) {
        PyErr_NoMemory();
    } else {
        ask(forest, rows, count, 0, out);
        answer = listed_rows(out, count, forest_outputs(forest, 0));
    }
    free(rows);
    free(out);
    return answer;
}

static PyObject *bytes_of(Forest *self, void *closure) {
    (void)closure;
    return PyLong_FromSize_t(self->forest->bytes);
}

static PyObject *features_of(Forest *self, void *closure) {
    (void)closure;
    return PyLong_FromUnsignedLong(self->forest->features);
}

static PyObject *groups_of(Forest *self, void *closure) {
    (void)closure;
    return PyLong_FromUnsignedLong(self->forest->groups);
}

static PyObject *outputs_of(Forest *self, void *closure) {
    (void)closure;
    return PyLong_FromUnsignedLong(forest_outputs(self->forest, 0));
}

static PyObject *get_note(Forest *self, void *closure) {
    (void)closure;
    return Py_NewRef(self->note);
}

static int set_note(Forest *self, PyObject *note, void *closure) {
    (void)closure;
    PyObject *old = self->note;
    self->note = Py_NewRef(note ? note : Py_None);
    Py_DECREF(old);
    return 0;
}

static PyGetSetDef getters[] = {
    {"note", (getter)get_note, (setter)set_note, NULL, NULL},
    {"size", (getter)bytes_of, NULL, NULL, NULL},
    {"num_features", (getter)features_of, NULL, NULL, NULL},
    {"groups", (getter)groups_of, NULL, NULL, NULL},
    {"outputs", (getter)outputs_of, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef methods[] = {
    {"predict", (PyCFunction)(void (*)(void))predict, METH_VARARGS, NULL},
    {"answer", (PyCFunction)(void (*)(void))answer, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, (void *)forest_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, getters},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "handler.forest._forest.Forest",
    .basicsize = sizeof(Forest),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

static PyMethodDef functions[] = {
    {"read", read_model, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_forest", .m_size = -1, .m_methods = functions,
};

PyMODINIT_FUNC PyInit__forest(void) {
    PyObject *module = PyModule_Create(&definition);
    forest_type = module ? (PyTypeObject *)PyType_FromSpec(&spec) : NULL;
    if (!forest_type || PyModule_AddObjectRef(module, "Forest", (PyObject *)forest_type) < 0)
        Py_CLEAR(module);
    return module;
}
