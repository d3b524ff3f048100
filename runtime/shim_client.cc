#include "runtime/shim_client.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/socket.h"

#ifndef MFD_EXEC  // Linux 6.3; Debian 12's headers are older
#define MFD_EXEC 0x0010U
#endif

namespace berth::runtime {

namespace wire = shim::wire;

namespace {

constexpr char kShimName[] = "berth-shim";

Result<UniqueFd> SealedCopy(const std::string& path) {
  ASSIGN_OR_RETURN(std::string bytes, ReadFile(path, 64 << 20));
  UniqueFd fd(memfd_create(kShimName, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC));
  // An older kernel does not know MFD_EXEC and makes every memfd executable.
  if (!fd.ok() && errno == EINVAL)
    fd.Reset(memfd_create(kShimName, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.ok()) return ErrnoError("memfd_create");
  RETURN_IF_ERROR(WriteAll(fd.get(), bytes));
  if (fchmod(fd.get(), 0500) != 0) return ErrnoError("fchmod");
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) {
    return ErrnoError("seal shim");
  }
  // Opened again for reading: a program that is open for writing cannot be executed.
  return Open(FdPath(fd.get()), O_RDONLY);
}

}  // namespace

Result<ShimClient> ShimClient::Connect(int state_dir) {
  ASSIGN_OR_RETURN(auto socket, ConnectSeqpacket(state_dir, wire::kSocketName));
  return ShimClient(std::move(socket));
}

template <typename Answer>
Result<Answer> ShimClient::Call(const Context& context, const std::string& request,
                                wire::Type answer, std::vector<UniqueFd>* fds) {
  if (!request.empty()) RETURN_IF_ERROR(SendPacket(socket_.get(), request), "shim");
  ASSIGN_OR_RETURN(auto packet, ReceivePacket(context, socket_.get(), "waiting for the shim"));
  if (packet.bytes.empty()) return Error(Code::kUnavailable, "the shim has gone");
  ASSIGN_OR_RETURN(auto message, wire::Unpack(packet.bytes));
  if (message.type == wire::Type::kFailed) {
    ASSIGN_OR_RETURN(auto failure, wire::Decode<wire::Failure>(message.body));
    return wire::ToError(failure);
  }
  if (message.type != answer) {
    return Error(Code::kInternal,
                 StrCat("unexpected answer ", static_cast<int>(message.type), " of the shim"));
  }
  if (fds != nullptr) *fds = std::move(packet.fds);
  return wire::Decode<Answer>(message.body);
}

namespace {
struct Nothing {};
template <typename C>
void Fields(C&, Nothing&) {}
}  // namespace

Result<wire::State> ShimClient::Launch(const Context& context, int rootfs,
                                       const std::vector<UniqueFd>& images) {
  std::vector<int> mounts = {rootfs};
  for (const UniqueFd& image : images) mounts.push_back(image.get());
  RETURN_IF_ERROR(SendPacket(socket_.get(), wire::Pack(wire::Type::kLaunch), mounts), "shim");
  return Call<wire::State>(context, "", wire::Type::kLaunched);
}

Result<wire::State> ShimClient::Watch(const Context& context) {
  return Call<wire::State>(context, wire::Pack(wire::Type::kWatch), wire::Type::kState);
}

Status ShimClient::Signal(const Context& context, int number) {
  auto request = wire::Pack(wire::Type::kSignal, wire::Signal{number});
  auto done = Call<Nothing>(context, request, wire::Type::kDone);
  if (!done.ok()) return std::move(done).error();
  return Ok();
}

Status ShimClient::ReopenLog(const Context& context) {
  auto done = Call<Nothing>(context, wire::Pack(wire::Type::kReopenLog), wire::Type::kDone);
  if (!done.ok()) return std::move(done).error();
  return Ok();
}

Result<ShimClient::Exec> ShimClient::StartExec(const Context& context, const wire::Exec& request) {
  Exec exec;
  ASSIGN_OR_RETURN(auto state, Call<wire::State>(context, wire::Pack(wire::Type::kExec, request),
                                                 wire::Type::kExecStarted, &exec.streams));
  exec.pid = state.pid;
  return exec;
}

Result<wire::ExitStatus> ShimClient::ExecExit(const Context& context) {
  return Call<wire::ExitStatus>(context, "", wire::Type::kExecExited);
}

Result<ShimClient::Attachment> ShimClient::Attach(const Context& context,
                                                  const wire::Attach& request) {
  std::vector<UniqueFd> fds;
  ASSIGN_OR_RETURN(auto attached,
                   Call<wire::Attached>(context, wire::Pack(wire::Type::kAttach, request),
                                        wire::Type::kAttached, &fds));
  Attachment attachment;
  attachment.terminal = attached.terminal;
  size_t next = 0;
  auto take = [&](bool there, UniqueFd& fd) {
    if (there && next < fds.size()) fd = std::move(fds[next++]);
  };
  take(attached.in, attachment.in);
  take(attached.out, attachment.out);
  take(attached.err, attachment.err);
  return attachment;
}

Result<wire::AttachEnded> ShimClient::AttachEnd(const Context& context) {
  return Call<wire::AttachEnded>(context, "", wire::Type::kAttachEnded);
}

Status ShimClient::InputEnded() {
  return SendPacket(socket_.get(), wire::Pack(wire::Type::kInputEnded));
}

Status ShimClient::Acknowledge() {
  return SendPacket(socket_.get(), wire::Pack(wire::Type::kAcknowledge));
}

Result<ShimLauncher> ShimLauncher::Open(const std::string& shim_path) {
  ASSIGN_OR_RETURN(auto binary, SealedCopy(shim_path), "shim ", shim_path);
  return ShimLauncher(std::move(binary));
}

Status ShimLauncher::UseCgroup(const CgroupJoin& join) {
  std::vector<std::string> paths = join.tasks_files;
  if (!join.directory.empty()) paths = {join.directory + "/cgroup.procs"};
  std::vector<UniqueFd> files;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(files.emplace_back(), ::berth::Open(path, O_WRONLY));
  }
  cgroup_files_ = std::move(files);
  return Ok();
}

// By our own pid and not "self": it is the child that opens it.
std::string ShimLauncher::Path() const {
  return StrCat("/proc/", getpid(), "/fd/", binary_.get());
}

Result<Child> ShimLauncher::Start(int state_dir) const {
  ASSIGN_OR_RETURN(auto listener, ListenSeqpacket(state_dir, wire::kSocketName));
  SpawnOptions options;
  options.path = Path();
  options.args = {kShimName};
  options.child_fds = {listener.get(), state_dir, 2};
  if (!cgroup_files_.empty()) {
    options.args.emplace_back("join");
    options.args.push_back(StrCat(cgroup_files_.size()));
    for (const UniqueFd& file : cgroup_files_) options.child_fds.push_back(file.get());
  }
  options.new_session = true;
  return Spawn(options);
}

Result<pid_t> ShimLauncher::StartPodInit(const Context& context, int user_namespace,
                                         const SelinuxLabels& labels) const {
  SpawnOptions options;
  options.path = Path();
  options.args = {kShimName, "pod-init"};
  if (user_namespace >= 0) {
    options.args.emplace_back("in-user-namespace");
    options.child_fds = {-1, -1, -1, user_namespace};
  }
  if (!labels.process.empty()) {
    options.args.insert(options.args.end(), {"labels", labels.process, labels.mount});
  }
  options.new_session = true;
  ASSIGN_OR_RETURN(auto output, RunProgram(context, options, ""), "start the pod's init");
  auto pid = ParseNumber<pid_t>(Trim(output.out));
  if (output.exit_code != 0 || !pid) {
    return Error(Code::kInternal, StrCat("start the pod's init: exit ", output.exit_code));
  }
  return *pid;
}

Result<std::vector<UniqueFd>> ShimLauncher::MakeNamespaces(
    const Context& context, const wire::MakeNamespaces& request) const {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoError("socketpair");
  }
  UniqueFd ours(ends[0]), its(ends[1]);
  SpawnOptions options;
  options.path = Path();
  options.args = {kShimName, "pod-namespaces"};
  options.child_fds = {its.get()};
  ASSIGN_OR_RETURN(auto child, Spawn(options));
  its.Reset();
  RETURN_IF_ERROR(SendPacket(ours.get(), wire::Pack(wire::Type::kMakeNamespaces, request)));
  ASSIGN_OR_RETURN(auto packet, ReceivePacket(context, ours.get(), "making namespaces"));
  if (packet.bytes.empty()) return Error(Code::kInternal, "the helper has ended without an answer");
  ASSIGN_OR_RETURN(auto answer, wire::Unpack(packet.bytes));
  if (answer.type == wire::Type::kNamespacesMade) return std::move(packet.fds);
  ASSIGN_OR_RETURN(auto failure, wire::Decode<wire::Failure>(answer.body));
  return wire::ToError(failure);
}

}  // namespace berth::runtime
