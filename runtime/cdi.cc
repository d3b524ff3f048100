#include "runtime/cdi.h"

#include <fcntl.h>

#include <algorithm>
#include <map>
#include <memory>

#include "base/file.h"
#include "base/yaml.h"
#include "runtime/invalid_field.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxFileBytes = 4 << 20;
constexpr size_t kMaxFiles = 1000;
constexpr size_t kMaxRemarks = 20;
constexpr size_t kMaxDevices = 1000;  // of a request
constexpr size_t kMaxAnnotationBytes = 256 << 10;

Error Wrong(std::string_view what) {
  return {Code::kInvalidArgument, std::string(what)};
}

bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

// Letters, digits and, within, those of `besides`.
bool IsWord(std::string_view text, std::string_view besides) {
  auto plain = [](char c) { return IsLetter(c) || IsDigit(c); };
  return !text.empty() && plain(text.front()) && plain(text.back()) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return plain(c) || besides.find(c) != std::string_view::npos; });
}

bool IsKind(std::string_view kind) {
  const size_t slash = kind.find('/');
  if (slash == std::string_view::npos) return false;
  const std::string_view vendor = kind.substr(0, slash), device_class = kind.substr(slash + 1);
  return IsWord(vendor, "_-.") && IsLetter(vendor[0]) && IsWord(device_class, "_-.") &&
         IsLetter(device_class[0]);
}

bool IsDeviceName(std::string_view name) {
  return IsWord(name, "_-.:");
}

// They say nothing to a container, and are checked as a part of the file.
Status CheckAnnotations(const Json& object, int version) {
  auto annotations = object.find("annotations");
  if (annotations == object.end() || annotations->is_null()) return Ok();
  if (!annotations->is_object()) return Wrong("annotations is no object");
  if (!annotations->empty()) RETURN_IF_ERROR(CheckCdiVersion(version, 600, "annotations"));
  size_t bytes = 0;
  for (const auto& [key, value] : annotations->items()) {
    if (key.empty() || !value.is_string()) return Wrong("annotations has something else than text");
    bytes += key.size() + value.get_ref<const std::string&>().size();
  }
  if (bytes > kMaxAnnotationBytes) {
    return Wrong(StrCat("annotations has more than ", kMaxAnnotationBytes, " bytes"));
  }
  return Ok();
}

struct File {
  explicit File(std::string its_path) : path(std::move(its_path)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  std::string path;
  Json json;
  int version = 0;  // as CdiVersion gives it
  bool is_used = false;
};

struct Entry {
  File* file;
  const Json* device;
  size_t directory;
};

// The files of all directories, and which of them has which device.
class Registry {
 public:
  Status Read(const std::vector<std::string>& directories) {
    for (size_t i = 0; i < directories.size(); ++i) {
      auto directory = Open(directories[i], O_RDONLY | O_DIRECTORY);
      if (!directory.ok()) continue;  // most nodes have none
      std::vector<std::string> names;
      RETURN_IF_ERROR(ForEachEntry(directory->get(), [&](const std::string& name) {
        names.push_back(name);
        return Ok();
      }));
      std::sort(names.begin(), names.end());
      for (const std::string& name : names) ReadOne(directories[i], directory->get(), name, i);
    }
    return Ok();
  }

  Result<Entry> Find(const std::string& name) const {
    auto found = devices_.find(name);
    if (found == devices_.end()) {
      return Error(Code::kNotFound, StrCat("no file describes the device", Remarks()));
    }
    if (found->second.file == nullptr) {
      return Error(Code::kFailedPrecondition, "more than one file describes the device");
    }
    return found->second;
  }

 private:
  void ReadOne(const std::string& directory, int fd, const std::string& name, size_t rank) {
    const bool is_yaml = name.ends_with(".yaml");
    if (!is_yaml && !name.ends_with(".json")) return;
    auto file = std::make_unique<File>(StrCat(directory, "/", name));
    Status read = files_.size() < kMaxFiles ? Parse(fd, name, is_yaml, *file)
                                            : Wrong(StrCat("more than ", kMaxFiles, " files"));
    if (read.ok()) read = AddDevices(*file, rank);
    if (read.ok()) {
      files_.push_back(std::move(file));
    } else if (remarks_.size() < kMaxRemarks) {
      remarks_.push_back(StrCat(Printable(file->path), ": ", read.error().message()));
    }
  }

  static Status Parse(int directory, const std::string& name, bool is_yaml, File& file) {
    ASSIGN_OR_RETURN(std::string text, ReadFileAt(directory, name, kMaxFileBytes));
    ASSIGN_OR_RETURN(file.json, is_yaml ? ParseYaml(text) : ParseJson(text));
    if (!file.json.is_object()) return Wrong("not an object");
    RETURN_IF_ERROR(CheckCdiKeys(
        "", file.json, {"cdiVersion", "kind", "annotations", "devices", "containerEdits"}));
    ASSIGN_OR_RETURN(std::string version, JsonString(file.json, "cdiVersion"));
    ASSIGN_OR_RETURN(file.version, CdiVersion(version));
    return CheckAnnotations(file.json, file.version);
  }

  // All of the file's, or none.
  Status AddDevices(File& file, size_t rank) {
    ASSIGN_OR_RETURN(std::string kind, JsonString(file.json, "kind"));
    if (!IsKind(kind)) return Wrong(StrCat("kind: \"", Printable(kind), "\" is not vendor/class"));
    if (kind.find('.', kind.find('/')) != std::string::npos) {
      RETURN_IF_ERROR(CheckCdiVersion(file.version, 600, "kind: a class with a dot"));
    }
    ASSIGN_OR_RETURN(Json devices, CdiObjects(file.json, "devices"));
    if (devices.empty()) return Wrong("devices has none");
    std::map<std::string, Entry> own;
    for (const Json& device : file.json["devices"]) {
      ASSIGN_OR_RETURN(std::string word, CdiWord(device, "name"), "devices");
      if (!IsDeviceName(word)) {
        return Wrong(StrCat("devices: \"", Printable(word), "\" is not the name of a device"));
      }
      RETURN_IF_ERROR(CheckDevice(device, word, file.version), "device ", word);
      if (!own.emplace(StrCat(kind, "=", word), Entry{&file, &device, rank}).second) {
        return Wrong(StrCat("devices: ", word, " is there twice"));
      }
    }
    for (auto& [full_name, entry] : own) Add(full_name, entry);
    return Ok();
  }

  static Status CheckDevice(const Json& device, const std::string& name, int version) {
    RETURN_IF_ERROR(CheckCdiKeys("", device, {"name", "annotations", "containerEdits"}));
    if (IsDigit(name[0])) {
      RETURN_IF_ERROR(CheckCdiVersion(version, 500, "a name that begins with a digit"));
    }
    return CheckAnnotations(device, version);
  }

  // Of one directory no file comes first: what two of them describe is in doubt.
  void Add(const std::string& name, const Entry& entry) {
    auto [place, is_new] = devices_.try_emplace(name, entry);
    if (is_new) return;
    const bool in_doubt = place->second.directory == entry.directory;
    place->second = entry;
    if (in_doubt) place->second.file = nullptr;
  }

  std::string Remarks() const {
    return remarks_.empty() ? "" : StrCat(" (", Join(remarks_, "; "), ")");
  }

  std::vector<std::unique_ptr<File>> files_;
  std::map<std::string, Entry> devices_;
  std::vector<std::string> remarks_;
};

Status AddDevice(const Registry& registry, const std::string& name, CdiEdits& edits) {
  ASSIGN_OR_RETURN(Entry entry, registry.Find(name));
  if (!entry.file->is_used) {
    entry.file->is_used = true;
    RETURN_IF_ERROR(AddCdiEdits(entry.file->json, entry.file->version, edits),
                    Printable(entry.file->path));
  }
  RETURN_IF_ERROR(AddCdiEdits(*entry.device, entry.file->version, edits),
                  Printable(entry.file->path));
  return Ok();
}

}  // namespace

Result<CdiEdits> FindCdiDevices(const std::vector<std::string>& names,
                                const std::vector<std::string>& directories) {
  CdiEdits edits;
  if (names.empty()) return edits;
  if (names.size() > kMaxDevices) {
    return InvalidField("CDI_devices", StrCat("more than ", kMaxDevices));
  }
  Registry registry;
  RETURN_IF_ERROR(registry.Read(directories), "CDI_devices");
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string field = StrCat("CDI_devices[", i, "]");
    const size_t equals = names[i].find('=');
    if (equals == std::string::npos || !IsKind(std::string_view(names[i]).substr(0, equals)) ||
        !IsDeviceName(std::string_view(names[i]).substr(equals + 1))) {
      return InvalidField(field,
                          StrCat("\"", Printable(names[i]), "\" is not vendor/class=device"));
    }
    if (std::find(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i), names[i]) !=
        names.begin() + static_cast<std::ptrdiff_t>(i)) {
      continue;  // asked for twice
    }
    RETURN_IF_ERROR(AddDevice(registry, names[i], edits), field, " \"", names[i], "\"");
  }
  return edits;
}

}  // namespace berth::runtime
