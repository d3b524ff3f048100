// What one "containerEdits" of a CDI file says (CDI specification 1.1.0, "OCI Edits").
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "runtime/oci_spec.h"

namespace berth::runtime {

struct CdiNode {
  Device device;
  std::optional<uint32_t> mode, uid, gid;  // else the host's; the owner see BuildCdiDevices
  // What the host's node must be: "c", "b"; empty and 0: whatever it is.
  std::string type;
  uint32_t major = 0, minor = 0;
};

// What devices add to a container.
struct CdiEdits {
  std::vector<std::string> env;  // "NAME=value"
  std::vector<CdiNode> nodes;
  std::vector<OciMount> mounts;
  std::vector<OciHook> hooks;
  std::vector<int64_t> groups;
};

// Adds those of `owner`, a file or a device of it, which has a "containerEdits" or none. `version`
// is the file's cdiVersion as CdiVersion gives it. InvalidArgument names the field that is wrong,
// or newer than that version; Unimplemented one that Berth cannot do: a device is given whole or
// not at all.
Status AddCdiEdits(const Json& owner, int version, CdiEdits& out);

// "0.5.0" as 500, "1.1.0" as 10100, for the versions that the specification has released;
// InvalidArgument for others.
Result<int> CdiVersion(const std::string& text);
// InvalidArgument names the field that a file of that version does not have yet.
Status CheckCdiVersion(int version, int needed, std::string_view field);
// "0.7.0"
std::string CdiVersionText(int version);

// Unimplemented for a member of `object` that is not among `known` and has something in it: what is
// passed over would be a device that does not work, or is open to too many.
Status CheckCdiKeys(std::string_view what, const Json& object,
                    std::initializer_list<std::string_view> known);
// A string; or an integer, which YAML makes of a word that is not quoted. Empty if it is not there.
Result<std::string> CdiWord(const Json& object, const char* key);
// The list's objects; none if it is absent or null.
Result<Json> CdiObjects(const Json& object, const char* key);

}  // namespace berth::runtime
