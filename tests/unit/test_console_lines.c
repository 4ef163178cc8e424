/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "service/stream/console_term.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One terminal (or two) over a window of lines; all that settles is collected. */
struct fixture {
    struct console_lines lines;
    struct console_term out, err;
    struct buf all;
};

static void on_settled(void *owner, const struct console_line *line)
{
    struct fixture *f = owner;
    console_line_write(line, &f->all);
    buf_putc(&f->all, '\n');
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->lines.on_settled = on_settled;
    f->lines.owner = f;
    console_term_init(&f->out, &f->lines, false);
    console_term_init(&f->err, &f->lines, true);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    console_term_fini(&f->out);
    console_term_fini(&f->err);
    console_lines_fini(&f->lines);
    buf_fini(&f->all);
    free(f);
    return 0;
}

static void out(struct fixture *f, const char *text)
{
    console_term_write(&f->out, str_of(text), 1);
}

static void err(struct fixture *f, const char *text)
{
    console_term_write(&f->err, str_of(text), 1);
}

static void assert_shows(struct fixture *f, const char *want)
{
    console_lines_settle_all(&f->lines);
    assert_string_equal(f->all.len ? buf_z(&f->all) : "", want);
}

#define SHOWS(name, input, want)            \
    static void test_##name(void **state)   \
    {                                       \
        out(*state, input);                 \
        assert_shows(*state, want);         \
    }

/* As the peer's own tests of its emulator have it. */
SHOWS(carriage_return_rewrites, "one\ntwo\rwh", "one\nwho\n")
SHOWS(cursor_moves_up_and_down, "one\ntwo\x1b[Arous\x1b[Btasks", "onerous\ntwo    tasks\n")

SHOWS(newline_alone_makes_no_line, "a\n\n\n", "a\n")
SHOWS(blank_lines_between_stay, "a\n\n\n b", "a\n\n\n b\n")
SHOWS(colours_stay_as_they_came, "\x1b[32mgreen\x1b[0m tab\there\n", "\x1b[32mgreen\x1b[0m tab\there\n")
SHOWS(blanks_at_the_end_are_not_written, "a  \nb  c  \n   \n", "a\nb  c\n\n")
SHOWS(blanks_that_erase_are_written, "abc \r     \n", "    \n")
SHOWS(blanks_wait_for_what_follows, "a  \x1b[0m  \n", "a  \x1b[0m\n")
SHOWS(bell_shows_nothing, "be\all", "bell\n")
SHOWS(backspace_moves_back, "back\b\bXX", "baXX\n")
SHOWS(crlf_is_a_newline, "a\r\nb\r\n", "a\nb\n")
SHOWS(progress_bar_keeps_its_last_state,
      "\r  0%|    |\r 50%|##  |\r100%|####|\ndone\n", "100%|####|\ndone\n")
SHOWS(coloured_bar_keeps_the_last_colours,
      "\r\x1b[31m#\x1b[0m---\r\x1b[32m##\x1b[0m--\n", "\x1b[32m##\x1b[0m--\n")
SHOWS(shorter_text_leaves_the_rest, "100%\r80%\n", "80%%\n")
SHOWS(erase_line_drops_the_rest, "downloading 100%\r\x1b[Kdone\n", "done\n")
SHOWS(erase_whole_line, "abc\x1b[2K\rx\n", "x\n")
SHOWS(title_and_link_are_not_text, "\x1b]0;title\aa\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", "alink\n")
SHOWS(cursor_hiding_is_not_text, "\x1b[?25lwait\x1b[?25h\n", "wait\n")
SHOWS(question_to_the_terminal_is_not_text, "a\x1b[6nb\x1b[c\n", "ab\n")
SHOWS(nested_bars, "\r outer 0\n\r inner 0\x1b[A\n\r inner 1\x1b[A\r outer 1\n\n", " outer 1\n inner 1\n")
SHOWS(wide_characters_take_two_columns, "\xe8\xbf\x9b\xe5\xba\xa6\rab\n", "ab\xe5\xba\xa6\n")
SHOWS(half_of_a_wide_character_is_blank, "\xe8\xbf\x9b\rx\n", "x \n")
SHOWS(combining_characters_stay, "e\xcc\x81x\ry\n", "yx\n")
SHOWS(combining_characters_are_kept, "xe\xcc\x81\ry\n", "ye\xcc\x81\n")
SHOWS(broken_utf8_is_replaced, "a\xff\xc3", "a\xef\xbf\xbd\xef\xbf\xbd\n")
SHOWS(tab_after_a_rewrite_stays_a_tab, "x\ra\tb\n", "a\tb\n")
SHOWS(writing_over_a_tab_makes_blanks, "a\tb\r123456\n", "123456  b\n")
SHOWS(delete_and_insert_characters, "abcdef\r\x1b[2Pxy\r\x1b[3@\n", "   xyef\n")
SHOWS(insert_line_moves_down, "a\nb\nc\x1b[2A\r\x1b[Lnew\n", "new\na\nb\nc\n")
SHOWS(clear_and_home_redraws, "epoch 1\nloss 5\n\x1b[2J\x1b[Hepoch 2\nloss 4\n", "epoch 2\nloss 4\n")
SHOWS(other_screen_is_not_kept, "a\n\x1b[?1049hmenu\x1b[?1049lb\n", "a\nb\n")
SHOWS(unknown_escape_is_dropped, "\x1b?a\x1b[?b\n", "a\n")
SHOWS(stray_escape_before_a_newline, "a\x1b\nb\x1b[\nc\n", "a\nb\nc\n")

static void test_colour_at_the_end_of_a_rewritten_line_stays(void **state)
{
    out(*state, "x\r\x1b[1mbold\x1b[0m\n");
    out(*state, "\x1b[0m");
    assert_shows(*state, "\x1b[1mbold\x1b[0m\n\x1b[0m\n");
}

static void test_text_may_end_inside_a_sequence(void **state)
{
    const char *text = "one\ntwo\x1b[Arous\x1b[Btasks\x1b[1;32mz\x1b]0;t\x1b\\!";
    for (const char *p = text; *p; p++)
        console_term_write(&((struct fixture *)*state)->out, (struct str){p, 1}, 1);
    assert_shows(*state, "onerous\ntwo    tasks\x1b[1;32mz!\n");
}

static void test_streams_mix_by_line(void **state)
{
    out(*state, "out 1\nout");
    err(*state, "err 1\n");
    out(*state, " 2\n");
    assert_shows(*state, "out 1\nout 2\nerr 1\n");
}

static void test_bar_on_stderr_under_text_on_stdout(void **state)
{
    err(*state, "\r 10%");
    out(*state, "hello\n");
    err(*state, "\r 20%");
    assert_shows(*state, " 20%\nhello\n");
}

static void test_long_lines_are_cut(void **state)
{
    char *text = malloc(10001);
    memset(text, 'x', 10000);
    text[10000] = 0;
    out(*state, text);
    out(*state, "\ra\n");
    err(*state, text);
    struct fixture *f = *state;
    console_lines_settle_all(&f->lines);
    assert_int_equal(f->all.len, 2 * (CONSOLE_MAX_COLS + 1));
    assert_int_equal(f->all.data[0], 'a');
    free(text);
}

static void test_old_lines_are_out_of_reach(void **state)
{
    char text[32];
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "%d\n", i);
        out(*state, text);
    }
    out(*state, "\x1b[99A\rtop");
    console_lines_settle_all(&((struct fixture *)*state)->lines);
    const char *all = buf_z(&((struct fixture *)*state)->all);
    assert_non_null(strstr(all, "\n68\ntop\n70\n")); /* 31 lines and the cursor's own row */
    assert_non_null(strstr(all, "98\n99\n"));
}

/* The peer's terminal makes lines late and scrolls its view meanwhile. */
static void test_many_newlines_leave_31_blank_lines(void **state)
{
    out(*state, "a\n");
    for (int i = 0; i < 60; i++)
        out(*state, "\n");
    out(*state, "b\n");
    struct fixture *f = *state;
    console_lines_settle_all(&f->lines);
    assert_int_equal(f->all.len, 2 + 31 + 2);
}

static void test_trimming_changes_nothing(void **state)
{
    struct fixture *f = *state;
    out(f, "\ta\x1b[31mb\xe8\xbf\x9b" "e\xcc\x81\rx");
    console_lines_trim(&f->lines);
    assert_false(console_lines_get(&f->lines, 0)->is_cells);
    out(f, "y\n");
    assert_shows(f, "xy      a\x1b[31mb\xe8\xbf\x9b" "e\xcc\x81\n");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(carriage_return_rewrites),
        T(cursor_moves_up_and_down),
        T(newline_alone_makes_no_line),
        T(blank_lines_between_stay),
        T(colours_stay_as_they_came),
        T(blanks_at_the_end_are_not_written),
        T(blanks_that_erase_are_written),
        T(blanks_wait_for_what_follows),
        T(bell_shows_nothing),
        T(backspace_moves_back),
        T(crlf_is_a_newline),
        T(progress_bar_keeps_its_last_state),
        T(coloured_bar_keeps_the_last_colours),
        T(shorter_text_leaves_the_rest),
        T(erase_line_drops_the_rest),
        T(erase_whole_line),
        T(title_and_link_are_not_text),
        T(cursor_hiding_is_not_text),
        T(question_to_the_terminal_is_not_text),
        T(nested_bars),
        T(wide_characters_take_two_columns),
        T(half_of_a_wide_character_is_blank),
        T(combining_characters_stay),
        T(combining_characters_are_kept),
        T(broken_utf8_is_replaced),
        T(tab_after_a_rewrite_stays_a_tab),
        T(writing_over_a_tab_makes_blanks),
        T(delete_and_insert_characters),
        T(insert_line_moves_down),
        T(clear_and_home_redraws),
        T(other_screen_is_not_kept),
        T(unknown_escape_is_dropped),
        T(stray_escape_before_a_newline),
        T(colour_at_the_end_of_a_rewritten_line_stays),
        T(text_may_end_inside_a_sequence),
        T(streams_mix_by_line),
        T(bar_on_stderr_under_text_on_stdout),
        T(long_lines_are_cut),
        T(old_lines_are_out_of_reach),
        T(many_newlines_leave_31_blank_lines),
        T(trimming_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
