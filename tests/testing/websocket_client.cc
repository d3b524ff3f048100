#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <chrono>

#include "tests/testing/stream_client.h"

namespace berth::testing {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;

struct WebSocketClient::Impl {
  asio::io_context context;
  websocket::stream<asio::ip::tcp::socket> stream{context};
  std::string protocol;
  size_t pongs = 0;

  // Runs one operation to its end, or closes the connection when its time is over.
  template <typename Start>
  Status Await(int timeout_ms, Start start) {
    bool done = false;
    boost::system::error_code result;
    start([&](boost::system::error_code error) {
      done = true;
      result = error;
    });
    context.restart();
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    while (!done && context.run_one_until(until) > 0) {
    }
    if (!done) {
      boost::system::error_code ignored;
      stream.next_layer().close(ignored);
      context.restart();
      context.run();
      return Error(Code::kDeadlineExceeded, "the server did nothing in time");
    }
    if (result == websocket::error::closed) return Error(Code::kOutOfRange, "closed");
    if (result) return Error(Code::kUnavailable, result.message());
    return Ok();
  }
};

WebSocketClient::WebSocketClient() : impl_(std::make_unique<Impl>()) {}
WebSocketClient::~WebSocketClient() = default;

Result<std::unique_ptr<WebSocketClient>> WebSocketClient::Connect(const std::string& url,
                                                                  const std::string& protocols) {
  ASSIGN_OR_RETURN(const UrlParts parts, ParseUrl(url));
  std::unique_ptr<WebSocketClient> client(new WebSocketClient);
  Impl& impl = *client->impl_;
  boost::system::error_code error;
  const auto address = asio::ip::make_address(parts.host, error);
  if (error) return Error(Code::kInvalidArgument, parts.host);
  impl.stream.next_layer().connect({address, parts.port}, error);
  if (error) return Error(Code::kUnavailable, error.message());
  impl.stream.set_option(websocket::stream_base::decorator([protocols](auto& request) {
    if (!protocols.empty()) request.set(beast::http::field::sec_websocket_protocol, protocols);
  }));
  impl.stream.control_callback([&impl](websocket::frame_type kind, beast::string_view) {
    if (kind == websocket::frame_type::pong) ++impl.pongs;
  });
  websocket::response_type response;
  Status status = impl.Await(kClientTimeoutMs, [&](auto handler) {
    impl.stream.async_handshake(response, "node", parts.path, handler);
  });
  if (!status.ok()) {
    return Error(Code::kFailedPrecondition,
                 StrCat(response.result_int(), " ", std::string(response.reason()), ": ",
                        status.error().message()));
  }
  impl.protocol = std::string(response[beast::http::field::sec_websocket_protocol]);
  return client;
}

Status WebSocketClient::SendBinary(std::string_view message) {
  impl_->stream.binary(true);
  return impl_->Await(kClientTimeoutMs, [&](auto handler) {
    impl_->stream.async_write(asio::buffer(message.data(), message.size()),
                              [handler](boost::system::error_code e, size_t) { handler(e); });
  });
}

Status WebSocketClient::SendText(std::string_view message) {
  impl_->stream.text(true);
  return impl_->Await(kClientTimeoutMs, [&](auto handler) {
    impl_->stream.async_write(asio::buffer(message.data(), message.size()),
                              [handler](boost::system::error_code e, size_t) { handler(e); });
  });
}

Status WebSocketClient::Ping(std::string_view payload) {
  const websocket::ping_data data(payload.data(), payload.size());
  return impl_->Await(kClientTimeoutMs,
                      [&](auto handler) { impl_->stream.async_ping(data, handler); });
}

Result<std::string> WebSocketClient::Receive(int timeout_ms) {
  beast::flat_buffer buffer;
  RETURN_IF_ERROR(impl_->Await(timeout_ms, [&](auto handler) {
    impl_->stream.async_read(buffer,
                             [handler](boost::system::error_code e, size_t) { handler(e); });
  }));
  return beast::buffers_to_string(buffer.data());
}

Status WebSocketClient::Close() {
  return impl_->Await(kClientTimeoutMs, [&](auto handler) {
    impl_->stream.async_close(websocket::close_code::normal, handler);
  });
}

const std::string& WebSocketClient::protocol() const {
  return impl_->protocol;
}

size_t WebSocketClient::pongs() const {
  return impl_->pongs;
}

}  // namespace berth::testing
