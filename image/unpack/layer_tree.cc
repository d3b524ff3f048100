#include "image/unpack/layer_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>

#include "image/unpack/limits.h"

namespace berth::image {

namespace {

constexpr int kMaxLinks = 40;  // as the kernel has it

// Puts the parts of a path on the list, so that the first is taken first (from the back).
void PushParts(std::string_view path, std::vector<std::string>& todo) {
  const std::vector<std::string_view> parts = Split(path, '/');
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (!part->empty() && *part != ".") todo.emplace_back(*part);
  }
}

}  // namespace

Result<std::string> CleanPath(std::string_view path) {
  std::string out;
  std::vector<size_t> starts;  // length of `out` before each part
  for (std::string_view part : Split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (starts.empty()) {
        return Error(Code::kInvalidArgument,
                     StrCat("path \"", Printable(path), "\" leads out of the layer"));
      }
      out.resize(starts.back());
      starts.pop_back();
      continue;
    }
    if (part.size() > kMaxNameBytes) {
      return Error(Code::kInvalidArgument,
                   StrCat("path \"", Printable(path), "\" has a name of ", part.size(),
                          " bytes; at most ", kMaxNameBytes, " are possible"));
    }
    starts.push_back(out.size());
    if (!out.empty()) out.push_back('/');
    out.append(part);
  }
  return out;
}

Result<int> LayerTree::Open(std::string_view path) {
  if (!stale_ && path == last_) return Top();
  const size_t reused = ReuseCommonLevels(path);
  stale_ = true;  // should the walk fail
  RETURN_IF_ERROR(Walk(path, path.substr(reused)));
  stale_ = false;
  last_ = path;
  return Top();
}

// Keeps the open directories that the path shares with the last one; returns how much of it they
// are.
size_t LayerTree::ReuseCommonLevels(std::string_view path) {
  size_t shared = 0;
  size_t keep = 0;
  if (!stale_ && last_is_plain_) {
    for (; keep < levels_.size(); ++keep) {
      const std::string& name = levels_[keep].name;
      const std::string_view rest = path.substr(shared);
      if (rest.substr(0, name.size()) != name) break;
      if (rest.size() > name.size() && rest[name.size()] != '/') break;
      shared += std::min(rest.size(), name.size() + 1);
    }
  }
  levels_.resize(keep);
  return shared;
}

Status LayerTree::Walk(std::string_view path, std::string_view rest) {
  std::vector<std::string> todo;
  PushParts(rest, todo);
  links_ = 0;
  while (!todo.empty()) {
    const std::string name = std::move(todo.back());
    todo.pop_back();
    if (name == "..") {
      if (!levels_.empty()) levels_.pop_back();
      continue;
    }
    Status entered = Enter(name, todo);
    if (!entered.ok()) {
      return std::move(entered).error().Wrap(StrCat("directory \"", Printable(path), "\""));
    }
  }
  last_is_plain_ = links_ == 0;
  return Ok();
}

Status LayerTree::Enter(const std::string& name, std::vector<std::string>& todo) {
  constexpr int kFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  if (levels_.size() == kMaxDepth) {
    return Error(Code::kInvalidArgument, StrCat("more than ", kMaxDepth, " directories deep"));
  }
  UniqueFd fd(openat(Top(), name.c_str(), kFlags));
  if (!fd.ok() && errno == ENOENT && make_missing_) {
    if (mkdirat(Top(), name.c_str(), 0755) != 0) return ErrnoError("mkdir");
    made_.push_back(levels_.empty() ? name : StrCat(ResolvedPath(), "/", name));
    made_bytes_ += made_.back().size() + sizeof(std::string);
    if (made_bytes_ > kMaxDirectoryBytes) {
      return Error(Code::kResourceExhausted, "too many directories");
    }
    fd.Reset(openat(Top(), name.c_str(), kFlags));
  }
  if (fd.ok()) {
    levels_.push_back({name, std::move(fd)});
    return Ok();
  }
  if (errno == ENOTDIR || errno == ELOOP) return FollowLink(name, todo);
  return ErrnoError(StrCat("open \"", Printable(name), "\""));
}

Status LayerTree::FollowLink(const std::string& name, std::vector<std::string>& todo) {
  char target[PATH_MAX];
  const ssize_t size = readlinkat(Top(), name.c_str(), target, sizeof target);
  if (size < 0) {
    if (errno != EINVAL) return ErrnoError("readlink");
    return Error(Code::kInvalidArgument, StrCat("\"", Printable(name), "\" is not a directory"));
  }
  if (++links_ > kMaxLinks) return Error(Code::kInvalidArgument, "too many symlinks on the way");
  const std::string_view link(target, static_cast<size_t>(size));
  if (link.substr(0, 1) == "/") levels_.clear();
  PushParts(link, todo);
  return Ok();
}

std::string LayerTree::ResolvedPath() const {
  std::string out;
  for (const Level& level : levels_) {
    if (!out.empty()) out.push_back('/');
    out += level.name;
  }
  return out;
}

}  // namespace berth::image
