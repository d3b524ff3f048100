// ImportImages: the archive is the client's, and is read from it by pieces.
#include "base/sync.h"
#include "base/thread.h"
#include "base/time.h"
#include "base/utf8.h"
#include "cri/berth_service.h"
#include "cri/progress_mailbox.h"
#include "cri/status.h"

namespace berth::cri {

namespace {

using Stream = grpc::ServerReaderWriter<bv1::ImportImagesResponse, bv1::ImportImagesRequest>;

constexpr size_t kMaxReadBytes = 4 << 20;

// How often a reader looks whether its context has ended.
constexpr int64_t kWaitMs = 100;

class ClientArchive final : public image::ArchiveSource {
 public:
  ClientArchive(Stream& stream, const bv1::ImportBegin& begin) : stream_(stream) {
    for (const auto& member : begin.members()) {
      members_.push_back({member.name(), member.size_bytes()});
    }
  }

  const std::vector<image::ArchiveMember>& members() const override { return members_; }

  Result<std::string> Read(const Context& context, size_t member, uint64_t offset,
                           size_t size) override {
    if (size == 0) return std::string();
    if (size > kMaxReadBytes) return Error(Code::kInternal, "a piece that is too large");
    const uint64_t id = Ask(member, offset, size);
    MutexLock lock(mutex_);
    while (!over_ && waiting_.at(id) == std::nullopt && context.Check("").ok()) {
      answered_.WaitMs(mutex_, kWaitMs);
    }
    const std::optional<bv1::ImportData> data = std::move(waiting_.at(id));
    waiting_.erase(id);
    RETURN_IF_ERROR(context.Check("read the archive"));
    if (!data) return Error(Code::kCancelled, "the client has gone");
    if (!data->error().empty()) {
      return Error(Code::kDataLoss,
                   StrCat("the client cannot read it: ", Printable(data->error(), 1024)));
    }
    if (data->data().size() != size) {
      return Error(Code::kInvalidArgument, StrCat("the client sent ", data->data().size(),
                                                  " bytes where ", size, " were asked for"));
    }
    return data->data();
  }

  bool Write(const bv1::ImportImagesResponse& message) EXCLUDES(write_mutex_) {
    MutexLock lock(write_mutex_);
    return stream_.Write(message);
  }

  // Takes what the client sends, until it ends.
  void ReadAnswers() EXCLUDES(mutex_) {
    bv1::ImportImagesRequest message;
    while (stream_.Read(&message)) {
      MutexLock lock(mutex_);
      auto waiting = waiting_.find(message.data().id());
      // Of a reader that could not wait any longer.
      if (waiting == waiting_.end()) continue;
      waiting->second = std::move(*message.mutable_data());
      answered_.NotifyAll();
    }
    MutexLock lock(mutex_);
    over_ = true;
    answered_.NotifyAll();
  }

 private:
  uint64_t Ask(size_t member, uint64_t offset, size_t size) EXCLUDES(mutex_) {
    bv1::ImportImagesResponse message;
    {
      MutexLock lock(mutex_);
      message.mutable_read()->set_id(++last_id_);
      waiting_[last_id_] = std::nullopt;
    }
    message.mutable_read()->set_member(static_cast<uint32_t>(member));
    message.mutable_read()->set_offset(offset);
    message.mutable_read()->set_size_bytes(static_cast<uint32_t>(size));
    // Of a client that has gone ReadAnswers() tells.
    (void)Write(message);
    return message.read().id();
  }

  Stream& stream_;
  std::vector<image::ArchiveMember> members_;
  Mutex write_mutex_;
  Mutex mutex_;
  CondVar answered_;
  uint64_t last_id_ GUARDED_BY(mutex_) = 0;
  bool over_ GUARDED_BY(mutex_) = false;
  std::map<uint64_t, std::optional<bv1::ImportData>> waiting_ GUARDED_BY(mutex_);
};

Status CheckBegin(const bv1::ImportImagesRequest& request) {
  if (!request.has_begin()) {
    return Error(Code::kInvalidArgument, "begin: the first message has to be this");
  }
  if (static_cast<size_t>(request.begin().members_size()) > image::kMaxArchiveMembers) {
    return Error(Code::kResourceExhausted,
                 StrCat("begin.members: more than ", image::kMaxArchiveMembers));
  }
  return Ok();
}

}  // namespace

grpc::Status BerthService::ImportImages(grpc::ServerContext* call, Stream* stream) {
  return Answer([&]() -> berth::Status {
    bv1::ImportImagesRequest first;
    if (!stream->Read(&first)) return Error(Code::kCancelled, "the client has gone");
    RETURN_IF_ERROR(CheckBegin(first));
    ClientArchive archive(*stream, first.begin());
    bv1::ImportImagesResponse last;
    auto transfer = [&](const Context& context, image::ProgressCallback progress) -> berth::Status {
      const image::ImportRequest request{first.begin().description(), first.begin().base_name(),
                                         WallNs(), std::move(progress)};
      ASSIGN_OR_RETURN(const auto images, parts_.importer.Import(context, archive, request));
      for (const auto& image : images) {
        bv1::ImportedImage* to = last.add_images();
        to->set_image_ref(image->id);
        for (const std::string& tag : image->repo_tags) to->add_names(ToUtf8(tag));
      }
      return Ok();
    };
    auto write = [&](const std::vector<image::LayerProgress>& layers) {
      bv1::ImportImagesResponse news;
      for (const image::LayerProgress& layer : layers) ToPb(layer, news.add_layers());
      return archive.Write(news);
    };
    ASSIGN_OR_RETURN(std::thread reader, StartThread([&] { archive.ReadAnswers(); }));
    berth::Status imported = RunTransfer(*call, lifetime_, transfer, write);
    last.set_finished(true);
    (void)archive.Write(last);
    reader.join();
    return imported;
  });
}

}  // namespace berth::cri
