// berth import, berth export.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "base/file.h"
#include "base/strings.h"
#include "cli/berth_client.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "image/archive/archive_file.h"

namespace berth::cli {
namespace {

struct ImportOptions {
  std::vector<std::string> archives;
  std::string base_name;
};

bv1::ImportImagesRequest BeginOf(const std::string& path, const std::string& base_name,
                                 const image::ArchiveSource& archive) {
  bv1::ImportImagesRequest request;
  bv1::ImportBegin* begin = request.mutable_begin();
  begin->set_description(path == "-" ? "standard input" : Printable(path));
  begin->set_base_name(base_name);
  for (const image::ArchiveMember& member : archive.members()) {
    bv1::ImportMember* to = begin->add_members();
    to->set_name(Printable(member.name, image::kMaxMemberNameBytes));
    to->set_size_bytes(member.size_bytes);
  }
  return request;
}

std::unique_ptr<bv1::ImportImagesRequest> AnswerRead(const bv1::ImportRead& read,
                                                     image::ArchiveSource& archive) {
  auto reply = std::make_unique<bv1::ImportImagesRequest>();
  bv1::ImportData* data = reply->mutable_data();
  data->set_id(read.id());
  auto bytes =
      read.member() < archive.members().size()
          ? archive.Read(Context::Background(), read.member(), read.offset(), read.size_bytes())
          : Error(Code::kNotFound, "no such member");
  if (bytes.ok()) {
    data->set_data(std::move(*bytes));
  } else {
    data->set_error(bytes.error().message());
  }
  return reply;
}

Result<bv1::ImportImagesResponse> ImportOne(const std::string& path, const std::string& base_name,
                                            BerthClient& client) {
  ASSIGN_OR_RETURN(auto archive, image::OpenArchive(path));
  ProgressView view(STDERR_FILENO);
  bv1::ImportImagesResponse last;
  auto answer = [&](const bv1::ImportImagesResponse& message)
      -> Result<std::unique_ptr<bv1::ImportImagesRequest>> {
    if (message.has_read()) return AnswerRead(message.read(), *archive);
    if (message.finished()) {
      last = message;
    } else {
      view.Show(message.layers());
    }
    return std::unique_ptr<bv1::ImportImagesRequest>();
  };
  RETURN_IF_ERROR(client.Import(BeginOf(path, base_name, *archive), answer));
  return last;
}

Result<int> Import(Cli& cli, const ImportOptions& options, Client& client) {
  BerthClient berth(client.address());
  bv1::ImportImagesResponse all;
  for (const std::string& path : options.archives) {
    ASSIGN_OR_RETURN(const auto imported, ImportOne(path, options.base_name, berth));
    all.mutable_images()->MergeFrom(imported.images());
  }
  if (cli.json()) {
    ASSIGN_OR_RETURN(const std::string json, ToJson(all));
    RETURN_IF_ERROR(Print(json));
    return 0;
  }
  std::string text;
  for (const auto& image : all.images()) {
    if (image.names().empty()) text += StrCat(image.image_ref(), "\n");
    for (const std::string& name : image.names())
      text += StrCat(image.image_ref(), " ", name, "\n");
  }
  RETURN_IF_ERROR(Print(text));
  return 0;
}

struct ExportOptions {
  std::vector<std::string> images;
  std::string file;
};

// A file that has its name only once it is whole.
class OutputFile {
 public:
  static Result<OutputFile> Open(const std::string& path) {
    OutputFile out;
    if (path == "-") {
      if (isatty(STDOUT_FILENO) != 0) {
        return Error(Code::kInvalidArgument, "an archive is nothing for a terminal: -o FILE");
      }
      ASSIGN_OR_RETURN(out.fd_, Duplicate(STDOUT_FILENO));
      return out;
    }
    out.path_ = path;
    out.temporary_ = StrCat(path, ".", getpid(), ".tmp");
    ASSIGN_OR_RETURN(out.fd_, ::berth::Open(out.temporary_, O_WRONLY | O_CREAT | O_EXCL, 0644));
    return out;
  }
  OutputFile() = default;
  OutputFile(OutputFile&& other) noexcept
      : fd_(std::move(other.fd_)),
        path_(std::move(other.path_)),
        temporary_(std::exchange(other.temporary_, {})) {}
  ~OutputFile() {
    if (!temporary_.empty()) unlink(temporary_.c_str());
  }
  int fd() const { return fd_.get(); }
  Status Keep() {
    if (temporary_.empty()) return Ok();
    if (rename(temporary_.c_str(), path_.c_str()) != 0) {
      return ErrnoError(StrCat("rename to ", Printable(path_)));
    }
    temporary_.clear();
    return Ok();
  }

 private:
  UniqueFd fd_;
  std::string path_, temporary_;
};

Result<int> Export(const ExportOptions& options, Client& client) {
  ASSIGN_OR_RETURN(auto file, OutputFile::Open(options.file), Printable(options.file));
  bv1::ExportImagesRequest request;
  for (const std::string& image : options.images) request.add_images(image);
  BerthClient berth(client.address());
  std::string warnings;
  RETURN_IF_ERROR(berth.Stream(request,
                               [&](const bv1::ExportImagesResponse& message) {
                                 if (!message.warning().empty())
                                   warnings +=
                                       StrCat("berth: ", Printable(message.warning(), 4096), "\n");
                                 return WriteAll(file.fd(), message.data());
                               }),
                  "export to ", Printable(options.file));
  RETURN_IF_ERROR(file.Keep());
  if (!warnings.empty()) (void)WriteAll(STDERR_FILENO, warnings);
  return 0;
}

}  // namespace

void AddArchiveCommands(Cli& cli) {
  auto import = std::make_shared<ImportOptions>();
  CLI::App* command = cli.AddCommand(
      "import",
      "Load images from archives: OCI layouts and what docker save writes, as directories or tar "
      "files, plain or compressed by gzip or zstd. Prints ids and names");
  command->add_option("ARCHIVE", import->archives, "Files, directories, or - for standard input")
      ->required();
  command->add_option("--base-name", import->base_name,
                      "Repository of images that an archive names by a tag only");
  command->callback([&cli, import] {
    cli.action = [&cli, import](Client& client) { return Import(cli, *import, client); };
  });

  auto out = std::make_shared<ExportOptions>();
  command =
      cli.AddCommand("export", "Write images to one tar: an OCI layout that docker load takes, too",
                     /*prints=*/false);
  command->add_option("IMAGE", out->images, "References or ids")->required();
  command->add_option("-o,--output", out->file, "The tar; - is standard output")->required();
  command->callback(
      [&cli, out] { cli.action = [out](Client& client) { return Export(*out, client); }; });
}

}  // namespace berth::cli
