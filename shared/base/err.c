#include "base/err.h"

#include <errno.h>

#include "base/bug.h"

const char *err_text(enum err err)
{
	switch (err) {
	case ERR_OK:
		return "ok";
#define ERR_CASE(code, fate, text) \
	case code:                 \
		return text;
		ERR_MAP(ERR_CASE)
#undef ERR_CASE
	}
	return "unknown error";
}

enum err_fate err_fate(enum err err)
{
	BUG_ON(err == ERR_OK);
	switch (err) {
	case ERR_OK:
		break;
#define ERR_CASE(code, fate, text) \
	case code:                 \
		return fate;
		ERR_MAP(ERR_CASE)
#undef ERR_CASE
	}
	return GIVE_UP;
}

enum err err_from_errno(int errno_value)
{
	switch (errno_value) {
	case 0:
		return ERR_OK;
	case ENOMEM:
		return ERR_NOMEM;
	case ENOENT:
		return ERR_NOT_FOUND;
	case EADDRINUSE:
	case EBUSY:
	case EAGAIN:
		return ERR_BUSY;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case ENOSPC:
	case EDQUOT:
		return ERR_SPACE;
	case EMFILE:
	case ENFILE:
		return ERR_FULL;
	case EINVAL:
	case ENAMETOOLONG:
		return ERR_INPUT;
	default:
		return ERR_IO;
	}
}
