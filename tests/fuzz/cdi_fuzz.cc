// A CDI file, as YAML, with all its edits.
#include <cstdint>
#include <cstdlib>

#include "base/yaml.h"
#include "runtime/cdi_edits.h"

namespace berth::runtime {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

// What goes into an execve(2) as it is.
void CheckText(const std::string& text) {
  Require(text.find('\0') == std::string::npos);
}

void CheckEdits(const Json& owner) {
  CdiEdits edits;
  if (!AddCdiEdits(owner, 10100, edits).ok()) return;
  for (const std::string& variable : edits.env) CheckText(variable);
  for (const OciHook& hook : edits.hooks) {
    Require(hook.path.starts_with('/'));
    CheckText(hook.path);
    for (const std::string& arg : hook.args) CheckText(arg);
    for (const std::string& variable : hook.env) CheckText(variable);
  }
  for (const OciMount& mount : edits.mounts) Require(mount.destination.size() > 1);
  for (int64_t group : edits.groups) Require(group > 0);
}

void CheckFile(std::string_view text) {
  auto file = ParseYaml(text);
  if (!file.ok() || !file->is_object()) return;
  CheckEdits(*file);
  auto devices = CdiObjects(*file, "devices");
  if (!devices.ok()) return;
  for (const Json& device : *devices) {
    (void)CdiWord(device, "name");
    CheckEdits(device);
  }
}

}  // namespace
}  // namespace berth::runtime

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  berth::runtime::CheckFile({reinterpret_cast<const char*>(data), size});
  return 0;
}
