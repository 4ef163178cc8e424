/* SPDX-License-Identifier: MIT */
#include "service/yaml_lib.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

static struct yaml_lib lib;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool is_open;

static void open_lib(void)
{
    void *h = dlopen("libyaml-0.so.2", RTLD_NOW | RTLD_LOCAL);
    static const struct {
        const char *name;
        void *to;
    } calls[] = {
        {"yaml_parser_initialize", &lib.init}, {"yaml_parser_delete", &lib.fini},
        {"yaml_parser_set_input_string", &lib.set_input}, {"yaml_parser_load", &lib.load},
        {"yaml_document_delete", &lib.free_doc}, {"yaml_document_get_node", &lib.node},
    };
    is_open = h != NULL;
    for (size_t i = 0; is_open && i < sizeof calls / sizeof calls[0]; i++) {
        void *f = dlsym(h, calls[i].name);
        memcpy(calls[i].to, &f, sizeof f);
        is_open = f != NULL;
    }
}

const struct yaml_lib *yaml_lib(void)
{
    pthread_once(&once, open_lib);
    return is_open ? &lib : NULL;
}

int yaml_lib_load(struct str text, yaml_document_t *doc, struct err *e)
{
    yaml_parser_t parser;
    int rc = 0;
    if (!yaml_lib() || !lib.init(&parser))
        return err_set(e, TARE_EUNSUPPORTED, "libyaml-0.so.2 is needed to read YAML");
    lib.set_input(&parser, (const unsigned char *)(text.n ? text.p : ""), text.n);
    if (!lib.load(&parser, doc))
        rc = err_set(e, TARE_EFORMAT, "line %zu: %s", parser.problem_mark.line + 1,
                     parser.problem ? parser.problem : "not YAML");
    lib.fini(&parser);
    return rc;
}
