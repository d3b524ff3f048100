// The head of an HTTP/1.1 request, read with caps (by Boost.Beast), and plain answers.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace berth::cri::stream {

struct HttpRequest {
  std::string method, target;
  std::multimap<std::string, std::string> headers;  // names in lower case

  // All values of the header, split at commas and trimmed, in their order.
  std::vector<std::string> List(const std::string& name) const;
  // True if one of these is the word, in upper or lower case.
  bool Has(const std::string& name, std::string_view word) const;
};

inline constexpr size_t kMaxRequestHead = 16 << 10;

class HttpRequestReader {
 public:
  HttpRequestReader();
  HttpRequestReader(HttpRequestReader&&) noexcept;
  HttpRequestReader& operator=(HttpRequestReader&&) noexcept;
  ~HttpRequestReader();
  // True once the head is whole. InvalidArgument for what is not HTTP, ResourceExhausted for a head
  // that is too long.
  Result<bool> Feed(std::string_view bytes);
  // After that:
  HttpRequest TakeRequest();
  // What came after the head.
  std::string TakeRest();

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
  std::string pending_;
};

// A whole answer that closes the connection; `headers` are lines with their ends.
std::string HttpAnswer(int status, std::string_view text, std::string_view headers = {});

}  // namespace berth::cri::stream
