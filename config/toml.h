// toml++ as all of config/ uses it: without exceptions, and without its assertions, some of which
// a wrong file fails ("[!]") before the parser's own check of the same thing makes an error of it.
#pragma once

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ASSERT(expression) static_assert(true)

#include <toml++/toml.h>
