#include "cri/stream/spdy_session.h"

#include <algorithm>

namespace berth::cri::stream {

namespace {

constexpr size_t kReportBytes = 32 << 10;
constexpr int64_t kSessionWindow = 64 << 10;
constexpr uint32_t kGoAwayOk = 0, kGoAwayProtocolError = 1;
constexpr int64_t kMaxWindow = INT32_MAX;

}  // namespace

Status SpdySession::Feed(std::string_view bytes, std::vector<Event>& events) {
  if (closed_) return Ok();
  bytes = pending_.Before(bytes);
  Status status;
  while (status.ok()) {
    auto frame = TakeSpdyFrame(bytes);
    if (!frame.ok()) {
      status = std::move(frame).error();
    } else if (!frame->has_value()) {
      break;
    } else {
      status = Handle(**frame, events);
    }
  }
  if (!status.ok()) {
    AppendSpdyControl(out_, SpdyType::kGoAway, 0, {last_stream_, kGoAwayProtocolError});
    closed_ = true;
    return status;
  }
  pending_.Keep(bytes);
  return Ok();
}

Status SpdySession::Handle(const SpdyFrame& frame, std::vector<Event>& events) {
  switch (frame.type) {
    case SpdyType::kData:
      OnData(frame, events);
      return Ok();
    case SpdyType::kSynStream:
      return OnSynStream(frame, events);
    case SpdyType::kSynReply:  // to nothing, but it moves the zlib stream on
    case SpdyType::kHeaders:
      return OnHeaders(frame, events);
    case SpdyType::kRstStream:
      OnReset(frame, events);
      return Ok();
    case SpdyType::kSettings:
      return OnSettings(frame);
    case SpdyType::kPing:
      // A client's pings have odd numbers; an even one would answer ours.
      if (frame.stream % 2 == 1) AppendSpdyControl(out_, SpdyType::kPing, 0, {frame.stream});
      return Ok();
    case SpdyType::kGoAway:  // it opens no more streams, but those that are open go on
      return Ok();
    case SpdyType::kWindowUpdate:
      OnWindowUpdate(frame);
      return Ok();
  }
  return Ok();  // what is not known is to be ignored
}

Status SpdySession::OnSynStream(const SpdyFrame& frame, std::vector<Event>& events) {
  ASSIGN_OR_RETURN(Headers headers, inflater_.Inflate(frame.payload));
  const uint32_t id = frame.stream;
  if (id % 2 == 0 || id <= last_stream_) {
    SendReset(id, kSpdyProtocolError);
    return Ok();
  }
  last_stream_ = id;
  if (streams_.size() >= kMaxStreams) {
    SendReset(id, kSpdyRefusedStream);
    return Ok();
  }
  auto stream = streams_.emplace(id, Stream()).first;
  AppendSpdyControl(out_, SpdyType::kSynReply, 0, {id}, deflater_.Deflate({}));
  events.push_back({.kind = Event::Kind::kOpened, .stream = id, .headers = std::move(headers)});
  if ((frame.flags & kSpdyUnidirectional) != 0) stream->second.ended = true;
  if ((frame.flags & kSpdyFin) != 0) OnPeerEnd(stream, events);
  return Ok();
}

Status SpdySession::OnHeaders(const SpdyFrame& frame, std::vector<Event>& events) {
  ASSIGN_OR_RETURN(const Headers unused, inflater_.Inflate(frame.payload));
  auto stream = streams_.find(frame.stream);
  if (stream != streams_.end() && (frame.flags & kSpdyFin) != 0) OnPeerEnd(stream, events);
  return Ok();
}

Status SpdySession::OnSettings(const SpdyFrame& frame) {
  ASSIGN_OR_RETURN(const auto window, InitialWindowOf(frame));
  if (!window) return Ok();
  peer_has_windows_ = true;
  initial_window_ = std::min<int64_t>(*window, kMaxWindow);
  return Ok();
}

void SpdySession::OnData(const SpdyFrame& frame, std::vector<Event>& events) {
  auto stream = streams_.find(frame.stream);
  if (stream == streams_.end()) {
    // To one that was reset the client may have sent before it knew.
    if (frame.stream > last_stream_) SendReset(frame.stream, kSpdyInvalidStream);
    return;
  }
  if (stream->second.peer_ended) return SendReset(frame.stream, kSpdyStreamAlreadyClosed);
  if (!frame.payload.empty()) {
    events.push_back(
        {.kind = Event::Kind::kData, .stream = frame.stream, .data = std::string(frame.payload)});
  }
  if ((frame.flags & kSpdyFin) != 0) OnPeerEnd(stream, events);
}

void SpdySession::OnReset(const SpdyFrame& frame, std::vector<Event>& events) {
  if (streams_.erase(frame.stream) == 0) return;
  events.push_back({.kind = Event::Kind::kReset, .stream = frame.stream});
}

void SpdySession::OnWindowUpdate(const SpdyFrame& frame) {
  const int64_t growth = frame.value & INT32_MAX;
  peer_has_windows_ = true;
  if (frame.stream == 0) {
    session_granted_ += growth;
    return;
  }
  auto stream = streams_.find(frame.stream);
  if (stream != streams_.end()) stream->second.granted += growth;
}

void SpdySession::OnPeerEnd(Streams::iterator stream, std::vector<Event>& events) {
  if (stream->second.peer_ended) return;
  stream->second.peer_ended = true;
  events.push_back({.kind = Event::Kind::kEnded, .stream = stream->first});
  ForgetIfDone(stream);
}

void SpdySession::ForgetIfDone(Streams::iterator stream) {
  if (stream->second.peer_ended && stream->second.ended) streams_.erase(stream);
}

void SpdySession::SendReset(uint32_t stream, uint32_t reason) {
  if (stream != 0) AppendSpdyControl(out_, SpdyType::kRstStream, 0, {stream, reason});
}

void SpdySession::Write(uint32_t id, std::string_view data) {
  auto stream = streams_.find(id);
  if (closed_ || data.empty() || stream == streams_.end() || stream->second.ended) return;
  AppendSpdyData(out_, id, data, /*fin=*/false);
  stream->second.sent += static_cast<int64_t>(data.size());
  session_sent_ += static_cast<int64_t>(data.size());
}

void SpdySession::End(uint32_t id) {
  auto stream = streams_.find(id);
  if (closed_ || stream == streams_.end() || stream->second.ended) return;
  AppendSpdyData(out_, id, {}, /*fin=*/true);
  stream->second.ended = true;
  ForgetIfDone(stream);
}

void SpdySession::Reset(uint32_t id) {
  if (closed_ || streams_.erase(id) == 0) return;
  SendReset(id, kSpdyCancel);
}

void SpdySession::Consumed(uint32_t id, size_t bytes) {
  if (closed_) return;
  session_unreported_ += bytes;
  if (session_unreported_ >= kReportBytes) {
    AppendSpdyControl(out_, SpdyType::kWindowUpdate, 0,
                      {0, static_cast<uint32_t>(session_unreported_)});
    session_unreported_ = 0;
  }
  auto stream = streams_.find(id);
  if (stream == streams_.end() || stream->second.peer_ended) return;
  size_t& unreported = stream->second.unreported;
  unreported += bytes;
  if (unreported < kReportBytes) return;
  AppendSpdyControl(out_, SpdyType::kWindowUpdate, 0, {id, static_cast<uint32_t>(unreported)});
  unreported = 0;
}

size_t SpdySession::Window(uint32_t id) const {
  auto stream = streams_.find(id);
  // What is written to a stream that has gone goes nowhere, and at any speed.
  if (!peer_has_windows_ || stream == streams_.end()) return SIZE_MAX;
  const int64_t own = initial_window_ + stream->second.granted - stream->second.sent;
  const int64_t session = kSessionWindow + session_granted_ - session_sent_;
  return static_cast<size_t>(std::max<int64_t>(0, std::min(own, session)));
}

void SpdySession::Close() {
  if (closed_) return;
  AppendSpdyControl(out_, SpdyType::kGoAway, 0, {last_stream_, kGoAwayOk});
  closed_ = true;
}

}  // namespace berth::cri::stream
