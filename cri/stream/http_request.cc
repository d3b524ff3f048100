#include "cri/stream/http_request.h"

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include <algorithm>

namespace berth::cri::stream {

namespace http = boost::beast::http;

struct HttpRequestReader::Parser {
  http::request_parser<http::empty_body> http;
};

HttpRequestReader::HttpRequestReader() : parser_(std::make_unique<Parser>()) {
  parser_->http.header_limit(kMaxRequestHead);
}

HttpRequestReader::HttpRequestReader(HttpRequestReader&&) noexcept = default;
HttpRequestReader& HttpRequestReader::operator=(HttpRequestReader&&) noexcept = default;
HttpRequestReader::~HttpRequestReader() = default;

Result<bool> HttpRequestReader::Feed(std::string_view bytes) {
  pending_ += bytes;
  boost::system::error_code error;
  const size_t used = parser_->http.put(boost::asio::buffer(pending_), error);
  pending_.erase(0, used);
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return Error(Code::kResourceExhausted, "the header is too long");
  }
  if (error && error != http::error::need_more) {
    return Error(Code::kInvalidArgument, StrCat("not HTTP: ", error.message()));
  }
  return parser_->http.is_header_done();
}

HttpRequest HttpRequestReader::TakeRequest() {
  const auto& message = parser_->http.get();
  HttpRequest request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  for (const auto& field : message) {
    request.headers.emplace(ToLower(std::string(field.name_string())), std::string(field.value()));
  }
  return request;
}

std::string HttpRequestReader::TakeRest() {
  return std::exchange(pending_, {});
}

std::vector<std::string> HttpRequest::List(const std::string& name) const {
  std::vector<std::string> words;
  auto [begin, end] = headers.equal_range(name);
  for (auto it = begin; it != end; ++it) {
    for (std::string_view part : Split(it->second, ',')) {
      if (std::string_view word = Trim(part); !word.empty()) words.emplace_back(word);
    }
  }
  return words;
}

bool HttpRequest::Has(const std::string& name, std::string_view word) const {
  const std::vector<std::string> words = List(name);
  return std::any_of(words.begin(), words.end(),
                     [&](const std::string& found) { return ToLower(found) == ToLower(word); });
}

namespace {

std::string_view ReasonOf(int status) {
  switch (status) {
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 426:
      return "Upgrade Required";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    default:
      return "Error";
  }
}

}  // namespace

std::string HttpAnswer(int status, std::string_view text, std::string_view headers) {
  return StrCat(
      "HTTP/1.1 ", status, " ", ReasonOf(status),
      "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: ",
      text.size() + 1, "\r\n", headers, "\r\n", text, "\n");
}

}  // namespace berth::cri::stream
