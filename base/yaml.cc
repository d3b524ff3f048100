#include "base/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <map>
#include <optional>
#include <sstream>
#include <vector>

#include "base/strings.h"

namespace berth {

namespace {

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxBytes = 16 << 20;
constexpr size_t kNodeBytes = sizeof(Json);

constexpr std::string_view kTags = "tag:yaml.org,2002:";

bool IsOneOf(std::string_view text, std::initializer_list<std::string_view> words) {
  for (std::string_view word : words) {
    if (text == word) return true;
  }
  return false;
}

std::optional<Json> Integer(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    const char mark = text[1];
    base = mark == 'x' ? 16 : mark == 'b' ? 2 : 8;
    text.remove_prefix(mark == 'x' || mark == 'b' || mark == 'o' ? 2 : 1);
  }
  auto number = ParseNumber<uint64_t>(text, base);
  if (!number) return std::nullopt;
  if (!negative) return *number;
  if (*number > uint64_t{1} << 63) return std::nullopt;
  return static_cast<int64_t>(0 - *number);
}

// What a plain scalar, one without quotes, stands for.
Json Resolve(const std::string& text) {
  if (IsOneOf(text, {"true", "True", "TRUE"})) return true;
  if (IsOneOf(text, {"false", "False", "FALSE"})) return false;
  if (auto number = Integer(text)) return *number;
  return text;
}

// Makes a Json of the parser's events. After a first error it ignores what comes.
class Builder : public YAML::EventHandler {
 public:
  Builder() = default;
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (failed()) return;
    if (WantsKey()) return Fail(mark, "a key that is no text");
    Finish(anchor, {nullptr, kNodeBytes});
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (failed()) return;
    if (WantsKey()) return Fail(mark, "a key that is an alias");
    auto named = anchors_.find(anchor);
    // One that is within what it names has not been finished yet.
    if (named == anchors_.end()) return Fail(mark, "an alias for what it is a part of");
    if (IsTooMuch(named->second.bytes)) return;
    Add(named->second);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    if (failed()) return;
    if (WantsKey()) return TakeKey(mark, tag, value);
    const bool plain = tag == "?" || tag == StrCat(kTags, "int") || tag == StrCat(kTags, "bool");
    if (!plain && tag != "!" && !tag.empty() && tag != StrCat(kTags, "str")) {
      return Fail(mark, StrCat("the tag ", Printable(tag), " is not known here"));
    }
    Finish(anchor, {plain ? Resolve(value) : Json(value), kNodeBytes + value.size()});
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, tag, "seq", anchor, Json::array());
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, tag, "map", anchor, Json::object());
  }
  void OnMapEnd() override { Close(); }

  bool failed() const { return error_.has_value(); }
  Result<Json> Take() {
    if (error_) return std::move(*error_);
    return std::move(root_).value_or(nullptr);
  }

 private:
  // NOLINTNEXTLINE(bugprone-exception-escape): moving a Json does not throw.
  struct Value {
    Json json;
    size_t bytes = 0;  // about what it takes, with all in it
  };
  struct Frame {
    Value value;
    YAML::anchor_t anchor = 0;
    std::optional<std::string> key;  // of a map, once it is there and its value is not
  };

  void Fail(const YAML::Mark& mark, std::string_view what, Code code = Code::kInvalidArgument) {
    error_ = Error(code, StrCat("line ", mark.line + 1, ": ", what));
  }
  bool IsTooMuch(size_t more) {
    total_ += more;
    if (total_ <= kMaxBytes) return false;
    error_ = Error(Code::kResourceExhausted,
                   StrCat("more than ", kMaxBytes, " bytes with its aliases written out"));
    return true;
  }
  bool WantsKey() const {
    return !open_.empty() && open_.back().value.json.is_object() && !open_.back().key;
  }

  void TakeKey(const YAML::Mark& mark, const std::string& tag, const std::string& key) {
    if (key == "<<" && tag == "?") return Fail(mark, "merge keys are not known here");
    if (open_.back().value.json.contains(key)) {
      return Fail(mark, StrCat("\"", Printable(key), "\" is there twice"));
    }
    if (IsTooMuch(kNodeBytes + key.size())) return;
    open_.back().value.bytes += kNodeBytes + key.size();
    open_.back().key = key;
  }

  void Open(const YAML::Mark& mark, const std::string& tag, std::string_view own_tag,
            YAML::anchor_t anchor, Json empty) {
    if (failed()) return;
    if (WantsKey()) return Fail(mark, "a key that is no text");
    if (open_.size() >= kMaxDepth) return Fail(mark, StrCat("nests deeper than ", kMaxDepth));
    if (!IsOneOf(tag, {"", "?", "!"}) && tag != StrCat(kTags, own_tag)) {
      return Fail(mark, StrCat("the tag ", Printable(tag), " is not known here"));
    }
    if (IsTooMuch(kNodeBytes)) return;
    open_.push_back({{std::move(empty), kNodeBytes}, anchor, std::nullopt});
  }
  void Close() {
    if (failed()) return;
    Frame frame = std::move(open_.back());
    open_.pop_back();
    Keep(frame.anchor, frame.value);
    Add(std::move(frame.value));
  }

  void Finish(YAML::anchor_t anchor, Value value) {
    if (IsTooMuch(value.bytes)) return;
    Keep(anchor, value);
    Add(std::move(value));
  }
  void Keep(YAML::anchor_t anchor, const Value& value) {
    if (anchor == 0 || IsTooMuch(value.bytes)) return;
    anchors_[anchor] = value;
  }
  void Add(Value value) {
    if (failed()) return;
    if (open_.empty()) {
      root_ = std::move(value.json);
      return;
    }
    Frame& parent = open_.back();
    parent.value.bytes += value.bytes;
    if (parent.value.json.is_array()) {
      parent.value.json.push_back(std::move(value.json));
    } else {
      parent.value.json[*parent.key] = std::move(value.json);
      parent.key.reset();
    }
  }

  std::vector<Frame> open_;
  std::map<YAML::anchor_t, Value> anchors_;
  std::optional<Json> root_;
  size_t total_ = 0;
  std::optional<Error> error_;
};

}  // namespace

Result<Json> ParseYaml(std::string_view text) {
  std::istringstream stream{std::string(text)};
  Builder builder;
  try {
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(builder)) {
      return Error(Code::kInvalidArgument, "there is nothing in it");
    }
    Builder next;
    if (!builder.failed() && parser.HandleNextDocument(next)) {
      return Error(Code::kInvalidArgument, "more than one document");
    }
  } catch (const YAML::Exception& problem) {
    if (builder.failed()) return builder.Take();
    return Error(Code::kInvalidArgument, StrCat("not valid YAML: line ", problem.mark.line + 1,
                                                ": ", Printable(problem.msg)));
  }
  return builder.Take();
}

}  // namespace berth
