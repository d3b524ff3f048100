// berth-unpack: unpacks one layer. Started by LayerUnpacker only:
//
//   berth-unpack none|gzip|zstd N
//   0: the blob   1: the report (report.h)   2: nothing is written   3: the layer's empty directory
//   4 to 3 + N: files of the cgroup to enter (pull_cgroup.h)
//
// It ends when the blob does: with the daemon's death too, since that closes the pipe.
#include <clocale>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <new>
#include <optional>

#include <malloc.h>
#include <unistd.h>

#include "image/unpack/sandbox.h"
#include "image/unpack/unpack.h"

namespace berth::image {
namespace {

constexpr int kBlobFd = 0;
constexpr int kReportFd = 1;
constexpr int kDirectoryFd = 3;

[[noreturn]] void End(const Result<UnpackReport>& report) {
  const bool told = WriteAll(kReportFd, EncodeReport(report)).ok();
  // No destructors: the reader thread may wait for its next byte.
  _exit(told && report.ok() ? 0 : 1);
}

[[noreturn]] void OutOfMemory() {
  constexpr char kReport[] =
      "error\0"
      "8\0"
      "the layer needs more memory than a worker may have";
  (void)!write(kReportFd, kReport, sizeof kReport);
  _exit(1);
}

std::optional<Compression> ParseCompression(const char* name) {
  if (std::strcmp(name, "none") == 0) return Compression::kNone;
  if (std::strcmp(name, "gzip") == 0) return Compression::kGzip;
  if (std::strcmp(name, "zstd") == 0) return Compression::kZstd;
  return std::nullopt;
}

// Before there are threads: moving oneself alone waits for nobody. They are closed before a byte of
// the layer is read.
Status EnterCgroups(int count) {
  for (int fd = kDirectoryFd + 1; fd <= kDirectoryFd + count; ++fd) {
    Status entered = WriteAll(fd, "0");
    close(fd);
    // Another daemon's end has removed it just now: this one layer does without.
    if (!entered.ok() && entered.error().sys_errno() == ENODEV) continue;
    RETURN_IF_ERROR(entered, "enter the cgroup of pulls");
  }
  return Ok();
}

[[noreturn]] void Run(Compression compression, int cgroup_files) {
  std::set_new_handler(&OutOfMemory);
  Status entered = EnterCgroups(cgroup_files);
  if (!entered.ok()) End(std::move(entered).error());
  // A heap for each thread would reserve address space, and ask for the number of processors, which
  // the filter forbids.
  mallopt(M_ARENA_MAX, 1);
  // libarchive converts names from UTF-8 to the locale's encoding. Where these are the same it
  // copies them; where not, it would load iconv modules, by now from the layer's own directory.
  if (std::setlocale(LC_ALL, "C.UTF-8") == nullptr) {
    End(Error(Code::kInternal, "the locale C.UTF-8 is missing"));
  }
  auto root = EnterSandbox(kDirectoryFd);
  if (!root.ok()) End(std::move(root).error());
  TarStream stream(kBlobFd, compression);
  Status filtered = FilterSystemCalls();
  if (!filtered.ok()) End(std::move(filtered).error());
  stream.Begin();
  End(UnpackStream(stream, root->get()));
}

}  // namespace
}  // namespace berth::image

#if defined(__SANITIZE_THREAD__)
// NOLINTNEXTLINE(readability-identifier-naming,bugprone-reserved-identifier): the sanitizer's name
extern "C" const char* __tsan_default_options() {
  return "report_thread_leaks=0";
}  // see End()
#endif

int main(int argc, char** argv) {
  const auto compression = argc == 3 ? berth::image::ParseCompression(argv[1]) : std::nullopt;
  const auto cgroup_files = argc == 3 ? berth::ParseNumber<int>(argv[2]) : std::nullopt;
  if (!compression || !cgroup_files) {
    constexpr char kUsage[] = "berth-unpack is started by berthd\n";
    (void)!write(STDERR_FILENO, kUsage, sizeof kUsage - 1);
    return 2;
  }
  berth::image::Run(*compression, *cgroup_files);
}
