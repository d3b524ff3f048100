#include "cri/stream/link.h"

#include "base/time.h"

namespace berth::cri::stream {

namespace {

constexpr size_t kBufferBytes = 64 << 10;
// One turn reads no more, so that output gets its turn.
constexpr int kReadsPerTurn = 8;
constexpr int64_t kFinishMs = 10'000;
constexpr int64_t kLingerMs = 3'000;

}  // namespace

Link::Link(Connection connection, std::unique_ptr<Mux> mux, std::string answer,
           std::string received)
    : connection_(std::move(connection)),
      mux_(std::move(mux)),
      received_(std::move(received)),
      out_(std::move(answer)),
      buffer_(kBufferBytes),
      last_moved_ns_(MonotonicNs()) {}

Status Link::Receive(std::vector<Event>& events) {
  if (!received_.empty()) {
    RETURN_IF_ERROR(mux_->Feed(std::exchange(received_, {}), events));
  }
  for (int i = 0; i < kReadsPerTurn; ++i) {
    ASSIGN_OR_RETURN(const auto size, connection_.Read(buffer_.data(), buffer_.size()));
    if (!size) return Ok();
    if (*size == 0) return Error(Code::kUnavailable, "the client has gone");
    last_moved_ns_ = MonotonicNs();
    RETURN_IF_ERROR(mux_->Feed({buffer_.data(), *size}, events));
    if (*size < buffer_.size() && !connection_.HasPending()) return Ok();
  }
  return Ok();
}

Status Link::Send() {
  std::string more = mux_->TakeOutput();
  if (sent_ == out_.size()) {
    out_ = std::move(more);
    sent_ = 0;
  } else {
    out_ += more;
  }
  while (sent_ < out_.size()) {
    ASSIGN_OR_RETURN(const size_t size, connection_.Write(std::string_view(out_).substr(sent_)));
    if (size == 0) break;
    sent_ += size;
    last_moved_ns_ = MonotonicNs();
  }
  // What has been sent goes when all has, or when it is most of what is kept.
  if (sent_ == out_.size()) {
    out_.clear();
    sent_ = 0;
  } else if (sent_ > out_.size() / 2) {
    out_.erase(0, sent_);
    sent_ = 0;
  }
  return Ok();
}

Result<std::vector<Event>> Link::Wait(const Context& context, std::vector<pollfd>& others,
                                      bool take, int timeout_ms) {
  if (fault_) return *fault_;
  RETURN_IF_ERROR(Send());
  const bool unsent = sent_ < out_.size() || connection_.WantsToWrite();
  const bool ready = take && (!received_.empty() || connection_.HasPending());
  others.front() = {connection_.fd(),
                    static_cast<short>(POLLRDHUP | (take ? POLLIN : 0) | (unsent ? POLLOUT : 0)),
                    0};
  RETURN_IF_ERROR(context.Poll(others, ready ? 0 : timeout_ms, "streaming"));
  const short happened = others.front().revents;
  std::vector<Event> events;
  if (take && (ready || (happened & (POLLIN | POLLRDHUP | POLLHUP | POLLERR)) != 0)) {
    Status status = Receive(events);
    if (!status.ok()) {
      (void)Send();
      if (events.empty()) return std::move(status).error();
      fault_ = std::move(status).error();
      return events;
    }
  } else if (!take && (happened & (POLLRDHUP | POLLHUP | POLLERR)) != 0) {
    return Error(Code::kUnavailable, "the client has gone");
  }
  RETURN_IF_ERROR(Send());
  return events;
}

void Link::Finish(const Context& context) {
  mux_->Close();
  const Context limited = context.Timeout(kFinishMs);
  std::vector<pollfd> none(1);
  std::vector<Event> ignored;
  while (true) {
    if (!Send().ok()) return;
    if (sent_ == out_.size()) break;
    none[0] = {connection_.fd(), POLLOUT, 0};
    if (!limited.Poll(none, limited.RemainingMs(), "finish").ok()) return;
  }
  connection_.EndWriting();
  const Context lingering = limited.Timeout(kLingerMs);
  while (lingering.Check("linger").ok()) {
    ignored.clear();
    if (!Receive(ignored).ok()) return;
    for (const Event& event : ignored) {
      if (event.kind == Event::Kind::kGoodbye) return;
    }
    none[0] = {connection_.fd(), POLLIN, 0};
    if (!lingering.Poll(none, lingering.RemainingMs(), "linger").ok()) return;
  }
}

}  // namespace berth::cri::stream
