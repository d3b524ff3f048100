// Holds api.proto to the wire contract of CRI v1, field by field and in both directions.
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "base/file.h"
#include "base/strings.h"
#include "cri/proto/api.pb.h"

namespace berth::cri {
namespace {

namespace proto = google::protobuf;

std::string TypeOf(const proto::FieldDescriptor& field) {
  if (field.is_map()) {
    const proto::Descriptor* entry = field.message_type();
    return StrCat("map<", TypeOf(*entry->field(0)), ",", TypeOf(*entry->field(1)), ">");
  }
  std::string name = field.type_name();
  // Names are without the package: "SecurityProfile.ProfileType".
  size_t package = std::string("runtime.v1.").size();
  if (const proto::Descriptor* message = field.message_type()) {
    name = message->full_name().substr(package);
  } else if (const proto::EnumDescriptor* enumeration = field.enum_type()) {
    name = enumeration->full_name().substr(package);
  }
  return StrCat(field.is_repeated() ? "repeated " : "", name);
}

void AddEnum(const proto::EnumDescriptor& enumeration, const std::string& scope,
             std::multiset<std::string>& lines) {
  for (int i = 0; i < enumeration.value_count(); ++i) {
    const proto::EnumValueDescriptor& value = *enumeration.value(i);
    lines.insert(StrCat("enum\t", scope, enumeration.name(), "\t", value.name(), "\t",
                        value.number(), "\t"));
  }
}

void AddMessage(const proto::Descriptor& message, std::multiset<std::string>& lines) {
  if (message.field_count() == 0) lines.insert(StrCat("field\t", message.name(), "\t(empty)\t\t"));
  for (int i = 0; i < message.field_count(); ++i) {
    const proto::FieldDescriptor& field = *message.field(i);
    lines.insert(StrCat("field\t", message.name(), "\t", field.name(), "\t", field.number(), "\t",
                        TypeOf(field)));
  }
  for (int i = 0; i < message.enum_type_count(); ++i) {
    AddEnum(*message.enum_type(i), StrCat(message.name(), "."), lines);
  }
}

void AddService(const proto::ServiceDescriptor& service, std::multiset<std::string>& lines) {
  for (int i = 0; i < service.method_count(); ++i) {
    const proto::MethodDescriptor& method = *service.method(i);
    EXPECT_FALSE(method.client_streaming()) << method.full_name();
    lines.insert(StrCat("rpc\t", service.name(), "\t", method.name(), "\t",
                        method.input_type()->name(), "\t",
                        method.server_streaming() ? "stream " : "", method.output_type()->name()));
  }
}

std::multiset<std::string> CompiledContract() {
  std::multiset<std::string> lines;
  const proto::FileDescriptor& file = *::runtime::v1::VersionRequest::descriptor()->file();
  EXPECT_EQ(file.package(), "runtime.v1");
  for (int i = 0; i < file.service_count(); ++i) AddService(*file.service(i), lines);
  for (int i = 0; i < file.enum_type_count(); ++i) AddEnum(*file.enum_type(i), "", lines);
  for (int i = 0; i < file.message_type_count(); ++i) AddMessage(*file.message_type(i), lines);
  return lines;
}

TEST(ProtoTest, IsTheWireContract) {
  auto text = ReadFile(BERTH_CRI_WIRE_TSV);
  ASSERT_TRUE(text.ok()) << text.error().message();
  std::multiset<std::string> contract;
  for (std::string_view line : Split(*text, '\n')) {
    if (!line.empty()) contract.emplace(line);
  }
  ASSERT_GT(contract.size(), 600u);
  std::multiset<std::string> compiled = CompiledContract();
  std::vector<std::string> missing, extra;
  std::set_difference(contract.begin(), contract.end(), compiled.begin(), compiled.end(),
                      std::back_inserter(missing));
  std::set_difference(compiled.begin(), compiled.end(), contract.begin(), contract.end(),
                      std::back_inserter(extra));
  EXPECT_EQ(Join(missing, "\n"), "");
  EXPECT_EQ(Join(extra, "\n"), "");
}

}  // namespace
}  // namespace berth::cri
