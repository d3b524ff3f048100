// Requests that are no messages: of every RPC that there is, found by its descriptor.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>

#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

namespace pbuf = ::google::protobuf;

constexpr char kNotUtf8[] = "caf\xe9";

std::vector<const pbuf::MethodDescriptor*> AllMethods() {
  std::vector<const pbuf::MethodDescriptor*> methods;
  const pbuf::FileDescriptor* file = rt::VersionRequest::descriptor()->file();
  for (int s = 0; s < file->service_count(); ++s) {
    for (int m = 0; m < file->service(s)->method_count(); ++m) {
      methods.push_back(file->service(s)->method(m));
    }
  }
  return methods;
}

std::string PathOf(const pbuf::MethodDescriptor& method) {
  return StrCat(method.service()->full_name(), "/", method.name());
}

// A request with one wrong string, and how an answer must name it.
struct Spoiled {
  std::string bytes;
  std::string field;
};

void SpoilString(const pbuf::Message& whole, pbuf::Message& message,
                 const pbuf::FieldDescriptor& field, std::vector<Spoiled>& out) {
  const pbuf::Reflection& reflection = *message.GetReflection();
  if (field.is_repeated()) {
    reflection.AddString(&message, &field, kNotUtf8);
  } else {
    reflection.SetString(&message, &field, kNotUtf8);
  }
  const std::string name = field.full_name();
  out.push_back({whole.SerializeAsString(), name.substr(std::string("runtime.v1.").size())});
  reflection.ClearField(&message, &field);
}

// Spoils each string of `message` in turn, in `whole`, which has `message` in it.
void SpoilEach(const pbuf::Message& whole, pbuf::Message& message, std::vector<Spoiled>& out) {
  const pbuf::Descriptor& type = *message.GetDescriptor();
  const pbuf::Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < type.field_count(); ++i) {
    const pbuf::FieldDescriptor* field = type.field(i);
    if (field->is_map()) {
      // An entry of its own for key and value: what is done to one that has been encoded is lost.
      for (const auto* part :
           {field->message_type()->map_key(), field->message_type()->map_value()}) {
        if (part->type() != pbuf::FieldDescriptor::TYPE_STRING) continue;
        SpoilString(whole, *reflection.AddMessage(&message, field), *part, out);
        reflection.ClearField(&message, field);
      }
    } else if (field->cpp_type() == pbuf::FieldDescriptor::CPPTYPE_MESSAGE) {
      pbuf::Message* inner = field->is_repeated() ? reflection.AddMessage(&message, field)
                                                  : reflection.MutableMessage(&message, field);
      SpoilEach(whole, *inner, out);
      reflection.ClearField(&message, field);
    } else if (field->type() == pbuf::FieldDescriptor::TYPE_STRING) {
      SpoilString(whole, message, *field, out);
    }
  }
}

std::vector<Spoiled> SpoiledRequestsOf(const pbuf::MethodDescriptor& method) {
  std::vector<Spoiled> spoiled;
  std::unique_ptr<pbuf::Message> request(
      pbuf::MessageFactory::generated_factory()->GetPrototype(method.input_type())->New());
  SpoilEach(*request, *request, spoiled);
  return spoiled;
}

class Wire : public E2eTest {
 protected:
  void ExpectNothingDone() {
    auto pods = cri().Call(rt::ListPodSandboxRequest());
    ASSERT_OK(pods);
    EXPECT_EQ(pods->items_size(), 0);
    EXPECT_EQ(node().Remains(), std::vector<std::string>());
  }
  pbuf::LogSilencer silence_;  // protobuf tells of what it is made to send
};

TEST_F(Wire, TextThatIsNotUtf8IsNamedWhereverItIs) {
  size_t tried = 0;
  for (const auto* method : AllMethods()) {
    for (const Spoiled& request : SpoiledRequestsOf(*method)) {
      SCOPED_TRACE(StrCat(method->name(), ": ", request.field));
      EXPECT_FAILS(cri().CallRaw(PathOf(*method), request.bytes), Code::kInvalidArgument,
                   StrCat(request.field, ": not UTF-8 text"));
      ++tried;
    }
  }
  EXPECT_GT(tried, 150u);
  ExpectNothingDone();
}

TEST_F(Wire, BytesThatAreNoMessageAreRefusedByEveryCall) {
  const std::string cut =
      "\x0a\x7f"
      "x";                                 // a field of 127 bytes, of which there is one
  const std::string endless(200, '\xff');  // a number that does not end
  for (const auto* method : AllMethods()) {
    for (const std::string& bytes : {cut, endless}) {
      SCOPED_TRACE(method->name());
      EXPECT_FAILS(cri().CallRaw(PathOf(*method), bytes), Code::kInvalidArgument,
                   "not a message of this call's type");
    }
  }
  ExpectNothingDone();
}

TEST_F(Wire, RequestsOfMoreThan16MiBAreRefused) {
  const std::string huge("\x0a\xff\xff\xff\x08" + std::string(17 << 20, 'x'));
  for (const char* method :
       {"RuntimeService/RunPodSandbox", "RuntimeService/CreateContainer", "RuntimeService/ExecSync",
        "RuntimeService/Status", "RuntimeService/StreamContainers", "ImageService/PullImage"}) {
    SCOPED_TRACE(method);
    EXPECT_FAILS(cri().CallRaw(StrCat("runtime.v1.", method), huge), Code::kResourceExhausted, "");
  }
  ExpectNothingDone();
}

TEST_F(Wire, CallsThatCriDoesNotHaveAreUnimplemented) {
  EXPECT_FAILS(cri().CallRaw("runtime.v1.RuntimeService/Nonsense", ""), Code::kUnimplemented, "");
  EXPECT_FAILS(cri().CallRaw("runtime.v1alpha2.RuntimeService/Version", ""), Code::kUnimplemented,
               "");
}

}  // namespace
}  // namespace berth::e2e
