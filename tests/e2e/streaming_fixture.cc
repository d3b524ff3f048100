#include <filesystem>

#include "base/strings.h"
#include "tests/e2e/streaming_test.h"

namespace berth::e2e {

namespace {

// The fields that requests for streams share by name.
template <typename Request>
Result<std::string> UrlFor(Cri& cri, Request request, WantedStreams wanted, bool terminal) {
  request.set_tty(terminal);
  request.set_stdin(wanted.in);
  request.set_stdout(wanted.out);
  request.set_stderr(wanted.err && !terminal);
  ASSIGN_OR_RETURN(const auto response, cri.Call(request));
  return response.url();
}

}  // namespace

Result<std::string> Streaming::ExecUrl(const std::vector<std::string>& command,
                                       WantedStreams wanted, bool terminal) {
  rt::ExecRequest request;
  request.set_container_id(container_);
  for (const std::string& arg : command) request.add_cmd(arg);
  return UrlFor(cri(), std::move(request), wanted, terminal);
}

Result<std::string> Streaming::AttachUrl(const std::string& container, WantedStreams wanted,
                                         bool terminal) {
  rt::AttachRequest request;
  request.set_container_id(container);
  return UrlFor(cri(), std::move(request), wanted, terminal);
}

Result<std::string> Streaming::ForwardUrl(const std::string& pod, const std::vector<int>& ports) {
  rt::PortForwardRequest request;
  request.set_pod_sandbox_id(pod);
  for (int port : ports) request.add_port(port);
  ASSIGN_OR_RETURN(const auto response, cri().Call(request));
  return response.url();
}

std::unique_ptr<SpdyClient> Streaming::Spdy(const Result<std::string>& url, int version) {
  EXPECT_OK(url);
  if (!url.ok()) return nullptr;
  const std::string protocol =
      version == 0 ? "portforward.k8s.io"
                   : StrCat(version == 1 ? "" : StrCat("v", version, "."), "channel.k8s.io");
  auto client = SpdyClient::Connect(*url, {protocol});
  EXPECT_OK(client);
  return client.ok() ? std::move(*client) : nullptr;
}

Result<Shown> Streaming::RunScript(const std::string& script, const std::string& input) {
  const WantedStreams wanted = {.in = !input.empty()};
  ASSIGN_OR_RETURN(const std::string url, ExecUrl({"sh", "-c", script}, wanted));
  ASSIGN_OR_RETURN(auto client, SpdyClient::Connect(url, {"v4.channel.k8s.io"}));
  const CommandStreams streams = OpenCommandStreams(*client, wanted);
  if (!input.empty()) RETURN_IF_ERROR(client->Send(streams.in, input, /*fin=*/true));
  RETURN_IF_ERROR(client->ReadUntil([&] {
    return client->stream(streams.error).ended && client->stream(streams.out).ended &&
           client->stream(streams.err).ended;
  }));
  Shown shown;
  shown.out = client->stream(streams.out).data;
  shown.err = client->stream(streams.err).data;
  shown.status = client->stream(streams.error).data;
  return shown;
}

Streaming::Forwarded Streaming::Forward(SpdyClient& client, int port, int request_id) {
  Forwarded forwarded;
  forwarded.error = client.Open(
      {{"streamtype", "error"}, {"port", StrCat(port)}, {"requestid", StrCat(request_id)}});
  forwarded.data = client.Open(
      {{"streamtype", "data"}, {"port", StrCat(port)}, {"requestid", StrCat(request_id)}});
  (void)client.Send(forwarded.error, "", /*fin=*/true);
  return forwarded;
}

namespace {

size_t Entries(const std::string& directory) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++count;
  return count;
}

}  // namespace

size_t Streaming::DaemonDescriptors() {
  return Entries(StrCat("/proc/", node().daemon_pid(), "/fd"));
}

size_t Streaming::DaemonThreads() {
  return Entries(StrCat("/proc/", node().daemon_pid(), "/task"));
}

}  // namespace berth::e2e
