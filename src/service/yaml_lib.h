/* SPDX-License-Identifier: MIT */
/* libyaml, opened at run time: few programs need YAML read, and it costs the others nothing at their
 * start. Any thread. */
#ifndef TARE_SERVICE_YAML_LIB_H
#define TARE_SERVICE_YAML_LIB_H

#include "base/err.h"
#include "base/str.h"

#include <yaml.h>

struct yaml_lib {
    int (*init)(yaml_parser_t *parser);
    void (*fini)(yaml_parser_t *parser);
    void (*set_input)(yaml_parser_t *parser, const unsigned char *text, size_t n);
    int (*load)(yaml_parser_t *parser, yaml_document_t *doc);
    void (*free_doc)(yaml_document_t *doc);
    yaml_node_t *(*node)(yaml_document_t *doc, int index); /* from 1; NULL: there is none */
};

/* NULL where the library is missing. */
const struct yaml_lib *yaml_lib(void);

/* The first document of `text`, to be given to free_doc. 0, TARE_EUNSUPPORTED (no library) or
 * TARE_EFORMAT with the line and what is wrong there. */
int yaml_lib_load(struct str text, yaml_document_t *doc, struct err *e);

#endif
