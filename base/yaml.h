// YAML of unknown origin, read into what JSON can say, with bounds and without exceptions.
#pragma once

#include <string_view>

#include "base/json.h"

namespace berth {

// One document (YAML 1.2, of whose tags those of JSON's types only). InvalidArgument, with the
// line, for what is no YAML, has more than one document, nests deeper than 64, says a key twice, or
// has keys that are no text, merge keys ("<<") or tags of other types. An alias stands for a copy
// of what it names: documents that would become larger than 16 MiB are refused (ResourceExhausted).
// What is plain and reads as an integer is a number (0666, 0o666 and 0x1b6 too), true and false in
// the cases of YAML 1.1 are booleans; all else is text, fractions too.
Result<Json> ParseYaml(std::string_view text);

}  // namespace berth
