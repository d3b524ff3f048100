#include "image/layer_unpacker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "image/unpack/report.h"

namespace berth::image {

namespace {

constexpr int kPipeBytes = 1 << 20;
// How long a worker that has sent its report may take to end.
constexpr int64_t kEndTimeoutMs = 10'000;

// write(2) that answers EPIPE without the signal, whatever the process does about SIGPIPE.
ssize_t WriteWithoutSignal(int fd, std::string_view bytes) {
  sigset_t pipe_only;
  sigset_t before;
  sigset_t pending;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&pending);
  pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
  const ssize_t n = write(fd, bytes.data(), bytes.size());
  const int failed = errno;
  if (n < 0 && failed == EPIPE && sigismember(&pending, SIGPIPE) == 0) {
    const timespec now{0, 0};
    while (sigtimedwait(&pipe_only, nullptr, &now) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = failed;
  return n;
}

Status CheckDigest(const char* what, const std::string& expected, const std::string& hex) {
  const std::string found = StrCat("sha256:", hex);
  if (found == expected) return Ok();
  return Error(Code::kDataLoss, StrCat(what, " is ", Printable(found), ", not ", expected));
}

}  // namespace

const char* NameOf(Compression compression) {
  switch (compression) {
    case Compression::kGzip:
      return "gzip";
    case Compression::kZstd:
      return "zstd";
    case Compression::kNone:
      break;
  }
  return "none";
}

struct LayerUnpack::State {
  UnpackRequest request;
  snapshotter::Snapshotter& snapshotter;
  // Before the child, so that it goes after it: nobody writes into what is being removed.
  std::unique_ptr<snapshotter::StagedLayer> staged;
  UniqueFd blob;
  UniqueFd report;
  Child worker;
  Status write_status;
  int kept = -1;  // the staged layer's blob file, if it is kept

  Result<std::string> ReadReport(const Context& context);
  Result<UnpackReport> AwaitReport(const Context& context);
  Status Check(const UnpackReport& found) const;
};

LayerUnpack::LayerUnpack(std::unique_ptr<State> state) : state_(std::move(state)) {}
LayerUnpack::LayerUnpack(LayerUnpack&&) noexcept = default;
LayerUnpack& LayerUnpack::operator=(LayerUnpack&&) noexcept = default;
LayerUnpack::~LayerUnpack() = default;

Status LayerUnpack::Write(const Context& context, std::string_view bytes) {
  if (!state_->write_status.ok()) return state_->write_status.error();
  const int fd = state_->blob.get();
  if (state_->kept >= 0) {
    Status kept = WriteAll(state_->kept, bytes);
    if (!kept.ok()) {
      state_->write_status = WithRoom(std::move(kept).error(), state_->snapshotter.root())
                                 .Wrap(StrCat("keep blob ", state_->request.digest));
      return state_->write_status.error();
    }
  }
  while (!bytes.empty()) {
    const ssize_t n = WriteWithoutSignal(fd, bytes);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      RETURN_IF_ERROR(context.Poll(fd, POLLOUT, "unpack layer"));
      continue;
    }
    state_->write_status =
        ErrnoError(StrCat("send layer ", state_->request.digest, " to its unpack worker"));
    return state_->write_status.error();
  }
  return Ok();
}

Result<std::string> LayerUnpack::State::ReadReport(const Context& context) {
  std::string text;
  char buffer[16384];
  while (true) {
    RETURN_IF_ERROR(context.Poll(report.get(), POLLIN, "wait for the unpack worker"));
    ASSIGN_OR_RETURN(size_t n, ReadSome(report.get(), buffer, sizeof buffer));
    if (n == 0) return text;
    if (text.size() + n > kMaxReportBytes) {
      return Error(Code::kResourceExhausted, "the unpack worker's report is too long");
    }
    text.append(buffer, n);
  }
}

Result<UnpackReport> LayerUnpack::State::AwaitReport(const Context& context) {
  ASSIGN_OR_RETURN(const std::string text, ReadReport(context));
  ASSIGN_OR_RETURN(const int exit_code, worker.Wait(context.Timeout(kEndTimeoutMs)));
  if (text.empty() && exit_code > 128) {
    return Error(Code::kInternal, StrCat("the unpack worker was killed by signal ", exit_code - 128,
                                         " (", sigdescr_np(exit_code - 128), ")"));
  }
  if (text.empty()) {
    return Error(Code::kInternal, StrCat("the unpack worker ended with code ", exit_code));
  }
  ASSIGN_OR_RETURN(auto found, DecodeReport(text));
  if (exit_code != 0) {
    return Error(Code::kInternal, StrCat("the unpack worker ended with code ", exit_code));
  }
  return found;
}

Status LayerUnpack::State::Check(const UnpackReport& found) const {
  if (request.size_bytes >= 0 && found.blob_bytes != static_cast<uint64_t>(request.size_bytes)) {
    return Error(Code::kDataLoss,
                 StrCat("the blob has ", found.blob_bytes, " bytes, not ", request.size_bytes));
  }
  if (!request.digest.empty()) {
    RETURN_IF_ERROR(CheckDigest("the blob's digest", request.digest, found.blob_sha256));
  }
  return CheckDigest("the layer's diffID", request.diff_id, found.tar_sha256);
}

Status LayerUnpack::Finish(const Context& context) {
  State& state = *state_;
  const std::string what = StrCat("unpack layer ", state.request.digest);
  state.blob.Reset();
  auto report = state.AwaitReport(context);
  if (!report.ok()) {
    return WithRoom(std::move(report).error(), state.snapshotter.root()).Wrap(what);
  }
  // The worker cannot have seen the whole blob.
  if (!state.write_status.ok()) return Error(state.write_status.error()).Wrap(what);
  RETURN_IF_ERROR(state.Check(*report), what);
  // Its worker may not set these: they would need CAP_SYS_ADMIN.
  for (const std::string& path : report->opaque) {
    RETURN_IF_ERROR(state.staged->SetOpaque(path), what);
  }
  state.staged->SetSeal(report->seal);
  if (state.kept >= 0) {
    state.staged->SetBlob(StrCat("sha256:", report->blob_sha256),
                          NameOf(state.request.compression));
  }
  RETURN_IF_ERROR(
      state.snapshotter.Commit(std::move(state.staged), {report->disk_bytes, report->inodes}),
      what);
  return Ok();
}

LayerUnpacker::LayerUnpacker(std::string worker_path, snapshotter::Snapshotter& snapshotter,
                             PullCgroup cgroup, bool keep_blobs)
    : worker_path_(std::move(worker_path)),
      snapshotter_(snapshotter),
      cgroup_(std::move(cgroup)),
      keep_blobs_(keep_blobs),
      room_(snapshotter.root()) {}

Result<LayerUnpack> LayerUnpacker::Begin(const UnpackRequest& request) {
  const std::string what = StrCat("unpack layer ", Printable(request.digest));
  ASSIGN_OR_RETURN(auto staged, snapshotter_.Stage(request.diff_id), what);
  ASSIGN_OR_RETURN(auto blob, MakePipe(), what);
  ASSIGN_OR_RETURN(auto report, MakePipe(), what);
  // A larger pipe means fewer switches between the two processes; the default does as well.
  (void)fcntl(blob.write.get(), F_SETPIPE_SZ, kPipeBytes);
  ASSIGN_OR_RETURN(const auto join_files, cgroup_.Join(), what, ": cgroup of pulls");
  SpawnOptions options;
  options.path = worker_path_;
  options.args = {"berth-unpack", NameOf(request.compression), StrCat(join_files.size())};
  options.child_fds = {blob.read.get(), report.write.get(), -1, staged->dir()};
  for (const UniqueFd& file : join_files) options.child_fds.push_back(file.get());
  ASSIGN_OR_RETURN(auto worker, Spawn(options), what);
  if (fcntl(blob.write.get(), F_SETFL, O_NONBLOCK) != 0) return ErrnoError(what);
  int kept = -1;
  if (keep_blobs_) {
    ASSIGN_OR_RETURN(kept, staged->BlobFile(), what, ": keep the blob");
  }
  return LayerUnpack(std::unique_ptr<LayerUnpack::State>(
      new LayerUnpack::State{request, snapshotter_, std::move(staged), std::move(blob.write),
                             std::move(report.read), std::move(worker), Ok(), kept}));
}

}  // namespace berth::image
