#include "image/archive/archive_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/file.h"
#include "image/archive/tar_index.h"
#include "image/unpack/inflate.h"
#include "image/unpack/limits.h"

namespace berth::image {

namespace {

constexpr size_t kCopyBytes = 1 << 20;

Result<std::string> ReadExactly(int fd, uint64_t offset, size_t size) {
  std::string out(size, '\0');
  for (size_t done = 0; done < size;) {
    const ssize_t n = pread(fd, out.data() + done, size - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError("read");
    if (n == 0) return Error(Code::kDataLoss, "it is shorter than it was");
    done += static_cast<size_t>(n);
  }
  return out;
}

class TarArchive final : public ArchiveSource {
 public:
  TarArchive(UniqueFd fd, const std::map<std::string, TarRange>& files) : fd_(std::move(fd)) {
    for (const auto& [name, range] : files) {
      members_.push_back({name, range.size});
      offsets_.push_back(range.offset);
    }
  }
  const std::vector<ArchiveMember>& members() const override { return members_; }
  Result<std::string> Read(const Context&, size_t member, uint64_t offset, size_t size) override {
    return ReadExactly(fd_.get(), offsets_[member] + offset, size);
  }

 private:
  const UniqueFd fd_;
  std::vector<ArchiveMember> members_;
  std::vector<uint64_t> offsets_;
};

class DirectoryArchive final : public ArchiveSource {
 public:
  static Result<std::unique_ptr<ArchiveSource>> Open(UniqueFd dir) {
    std::unique_ptr<DirectoryArchive> archive(new DirectoryArchive(std::move(dir)));
    RETURN_IF_ERROR(archive->List("", 0));
    return std::unique_ptr<ArchiveSource>(std::move(archive));
  }
  const std::vector<ArchiveMember>& members() const override { return members_; }
  Result<std::string> Read(const Context&, size_t member, uint64_t offset, size_t size) override {
    ASSIGN_OR_RETURN(auto file, OpenBeneath(dir_.get(), members_[member].name, O_RDONLY));
    return ReadExactly(file.get(), offset, size);
  }

 private:
  explicit DirectoryArchive(UniqueFd dir) : dir_(std::move(dir)) {}

  // Layouts have files three levels down at most: blobs/sha256/HEX.
  Status List(const std::string& path, int depth) {
    constexpr int kDeepest = 3;
    ASSIGN_OR_RETURN(auto here,
                     OpenBeneath(dir_.get(), path.empty() ? "." : path, O_RDONLY | O_DIRECTORY));
    return ForEachEntry(here.get(), [&](const std::string& name) -> Status {
      const std::string full = path.empty() ? name : StrCat(path, "/", name);
      auto opened = OpenBeneath(dir_.get(), full, O_PATH);
      struct stat info {};
      // A link to elsewhere is no part of it.
      if (!opened.ok() || fstat(opened->get(), &info) != 0) return Ok();
      if (S_ISDIR(info.st_mode)) return depth < kDeepest ? List(full, depth + 1) : Ok();
      if (!S_ISREG(info.st_mode)) return Ok();
      if (members_.size() == kMaxArchiveMembers) {
        return Error(Code::kResourceExhausted, StrCat("more than ", kMaxArchiveMembers, " files"));
      }
      members_.push_back({full, static_cast<uint64_t>(info.st_size)});
      return Ok();
    });
  }

  const UniqueFd dir_;
  std::vector<ArchiveMember> members_;
};

Result<UniqueFd> TemporaryFile() {
  const char* named = getenv("TMPDIR");
  const std::string directory = named != nullptr && *named != '\0' ? named : "/var/tmp";
  return Open(directory, O_TMPFILE | O_RDWR, 0600);
}

Compression CompressionOf(std::string_view begin) {
  if (begin.starts_with("\x1f\x8b")) return Compression::kGzip;
  if (begin.starts_with("\x28\xb5\x2f\xfd")) return Compression::kZstd;
  return Compression::kNone;
}

// All that the inflater makes of the input goes to the file.
Status InflateInto(Inflater& inflater, std::string_view input, int to, uint64_t taken,
                   uint64_t* written) {
  std::string buffer(kCopyBytes, '\0');
  while (true) {
    ASSIGN_OR_RETURN(const size_t n, inflater.Inflate(input, buffer.data(), buffer.size()));
    if (n == 0) return Ok();
    *written += n;
    if (*written > kFreeTarBytes + kMaxRatio * taken) {
      return Error(Code::kResourceExhausted,
                   StrCat("it unpacks to more than ", *written, " bytes from ", taken));
    }
    RETURN_IF_ERROR(WriteAll(to, {buffer.data(), n}), "write a temporary file");
  }
}

Result<UniqueFd> CopyInflated(int from) {
  ASSIGN_OR_RETURN(auto to, TemporaryFile(), "temporary file");
  std::string input(kCopyBytes, '\0');
  std::unique_ptr<Inflater> inflater;
  uint64_t taken = 0;
  uint64_t written = 0;
  while (true) {
    size_t filled = 0;
    // A pipe gives little at a time, and the first look needs the magic number whole.
    while (filled < input.size()) {
      ASSIGN_OR_RETURN(const size_t n,
                       ReadSome(from, input.data() + filled, input.size() - filled));
      if (n == 0) break;
      filled += n;
    }
    const std::string_view bytes(input.data(), filled);
    if (!inflater) inflater = MakeInflater(CompressionOf(bytes));
    taken += filled;
    RETURN_IF_ERROR(InflateInto(*inflater, bytes, to.get(), taken, &written));
    if (filled < input.size()) break;
  }
  RETURN_IF_ERROR(inflater->Finish());
  return to;
}

Result<std::unique_ptr<ArchiveSource>> OpenTar(UniqueFd file) {
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return ErrnoError("stat");
  bool direct = S_ISREG(info.st_mode) && lseek(file.get(), 0, SEEK_CUR) == 0;
  if (direct) {
    ASSIGN_OR_RETURN(
        const std::string begin,
        ReadExactly(file.get(), 0, static_cast<size_t>(std::min<off_t>(info.st_size, 4))));
    direct = CompressionOf(begin) == Compression::kNone;
  }
  if (!direct) {
    ASSIGN_OR_RETURN(file, CopyInflated(file.get()));
  }
  ASSIGN_OR_RETURN(const auto files, IndexTar(file.get()));
  return std::unique_ptr<ArchiveSource>(std::make_unique<TarArchive>(std::move(file), files));
}

Result<std::unique_ptr<ArchiveSource>> OpenPath(const std::string& path) {
  if (path == "-") {
    ASSIGN_OR_RETURN(auto input, Duplicate(STDIN_FILENO));
    return OpenTar(std::move(input));
  }
  ASSIGN_OR_RETURN(auto file, Open(path, O_RDONLY));
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return ErrnoError("stat");
  return S_ISDIR(info.st_mode) ? DirectoryArchive::Open(std::move(file)) : OpenTar(std::move(file));
}

}  // namespace

Result<std::unique_ptr<ArchiveSource>> OpenArchive(const std::string& path) {
  const std::string what =
      path == "-" ? "archive on standard input" : StrCat("archive ", Printable(path));
  ASSIGN_OR_RETURN(auto archive, OpenPath(path), what);
  return archive;
}

}  // namespace berth::image
