/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "record/names.h"

/* Every member of the choice in `type` has a name of its own; returns how many there are. */
static int check_all(const ProtobufCMessageDescriptor *type, const char *(*name)(int))
{
    int n = 0;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        if (!(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
            continue;
        n++;
        assert_string_not_equal(name((int)f->id), "unknown");
        for (unsigned j = 0; j < i; j++)
            if (type->fields[j].flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
                assert_string_not_equal(name((int)f->id), name((int)type->fields[j].id));
    }
    return n;
}

static void test_every_kind_has_a_name(void **state)
{
    (void)state;
    assert_int_equal(check_all(&pb__record__descriptor, record_kind_name), 23);
    assert_int_equal(check_all(&pb__request__descriptor, request_kind_name), 37);
    assert_int_equal(check_all(&pb__server_request__descriptor, server_request_kind_name), 18);
}

static void test_numbers_without_a_kind_are_unknown(void **state)
{
    (void)state;
    assert_string_equal(record_kind_name(0), "none");
    assert_string_equal(record_kind_name(14), "unknown");
    assert_string_equal(request_kind_name(-1), "unknown");
    assert_string_equal(server_request_kind_name(8), "unknown");
}

static void test_a_request_names_its_record(void **state)
{
    (void)state;
    Pb__Request request = PB__REQUEST__INIT;
    request.request_type_case = PB__REQUEST__REQUEST_TYPE_POLL_EXIT;
    Pb__Record record = PB__RECORD__INIT;
    assert_string_equal(record_name(NULL), "none");
    assert_string_equal(record_name(&record), "none");
    record.record_type_case = PB__RECORD__RECORD_TYPE_REQUEST;
    record.request = &request;
    assert_string_equal(record_name(&record), "poll_exit");
    record.record_type_case = PB__RECORD__RECORD_TYPE_HISTORY;
    assert_string_equal(record_name(&record), "history");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_has_a_name),
        cmocka_unit_test(test_numbers_without_a_kind_are_unknown),
        cmocka_unit_test(test_a_request_names_its_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
