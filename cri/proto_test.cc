// Holds api.proto to the wire contract of CRI v1, field by field and in both directions.
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
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

// Message to fields, as the tables of docs/CRI_FIELDS.md have them: a row without a message goes on
// with the one before; fields that are the same everywhere are in a table of two columns, under "".
std::map<std::string, std::set<std::string>> DocumentedFields(std::string_view text) {
  std::map<std::string, std::set<std::string>> documented;
  std::vector<std::string> messages;
  for (std::string_view line : Split(text, '\n')) {
    if (!line.starts_with("| ")) continue;
    const auto cells = Split(line, '|');  // the first and the last one are empty
    const bool of_messages = cells.size() == 5;
    if (!of_messages) {
      messages = {""};
    } else if (cells[1] != " ") {
      messages.clear();
      for (std::string_view name : Split(cells[1], ',')) {
        messages.emplace_back(name.substr(1, name.find_last_not_of(' ')));
      }
    }
    const auto quoted = Split(cells[of_messages ? 2 : 1], '`');
    for (size_t i = 1; i < quoted.size(); i += 2) {
      for (const std::string& message : messages) documented[message].emplace(quoted[i]);
    }
  }
  return documented;
}

TEST(ProtoTest, EveryFieldIsDocumented) {
  auto text = ReadFile(BERTH_CRI_FIELDS_MD);
  ASSERT_TRUE(text.ok()) << text.error().message();
  auto documented = DocumentedFields(*text);
  ASSERT_GT(documented.size(), 50u);
  const proto::FileDescriptor& file = *::runtime::v1::VersionRequest::descriptor()->file();
  std::set<std::string> known;
  for (int i = 0; i < file.message_type_count(); ++i) {
    const proto::Descriptor& message = *file.message_type(i);
    for (int j = 0; j < message.field_count(); ++j) {
      const std::string& field = message.field(j)->name();
      known.insert(field);
      if (message.name().starts_with("Windows") || field == "windows") continue;
      EXPECT_TRUE(documented[""].contains(field) || documented[message.name()].contains(field))
          << message.name() << "." << field;
    }
  }
  for (const auto& [name, fields] : documented) {
    EXPECT_TRUE(name.empty() || file.FindMessageTypeByName(name) != nullptr) << name;
    for (const std::string& field : fields) EXPECT_TRUE(known.contains(field)) << field;
  }
}

}  // namespace
}  // namespace berth::cri
