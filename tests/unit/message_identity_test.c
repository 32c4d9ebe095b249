/* What a name in a certificate says, and what is none. */
#include "message/identity.h"

#include "unit/unit.h"

START_TEST(a_realm_a_name_and_a_generation)
{
	struct identity who;

	ck_assert_int_eq(identity_parse(span_of("web.web-1.g12"), &who), ERR_OK);
	ck_assert(span_is(who.realm, "web"));
	ck_assert(span_is(who.name, "web-1"));
	ck_assert_uint_eq(who.generation, 12);
	ck_assert_int_eq(identity_parse(span_of("app.app1.g1"), &who), ERR_OK);
	ck_assert(span_is(who.realm, "app"));
}
END_TEST

static const char *const others[] = {
	"",
	"web",
	"web.web1",
	"web.web1.",
	"web.web1.g",
	"web.web1.g0",
	"web.web1.g01",
	"web.web1.g-1",
	"web.web1.g1 ",
	"web.web1.g1.g2",
	"web.web1.x.g1",
	"web..g1",
	"web.we b.g1",
	"ops.web1.g1",
	"WEB.web1.g1",
	"web.web1.g99999999999999999999",
	"web.1234567890123456789012345678901234567890123456789012345678901234.g1",
};

START_TEST(anything_else_is_none)
{
	struct identity who;

	ck_assert_int_eq(identity_parse(span_of(others[_i]), &who), ERR_INPUT);
	ck_assert_uint_eq(identity_generation(span_of(others[_i]), "web", "web1"), 0);
}
END_TEST

START_TEST(a_generation_is_of_one_realm_and_name)
{
	struct span text = span_of("web.web1.g7");

	ck_assert_uint_eq(identity_generation(text, "web", "web1"), 7);
	ck_assert_uint_eq(identity_generation(text, "app", "web1"), 0);
	ck_assert_uint_eq(identity_generation(text, "web", "web"), 0);
	ck_assert_uint_eq(identity_generation(text, "web", "web11"), 0);
	ck_assert_uint_eq(identity_generation(text, "web", "web2"), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("message_identity");
	TCase *tc = tcase_create("identity");

	tcase_add_test(tc, a_realm_a_name_and_a_generation);
	tcase_add_loop_test(tc, anything_else_is_none, 0, ARRAY_COUNT(others));
	tcase_add_test(tc, a_generation_is_of_one_realm_and_name);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
