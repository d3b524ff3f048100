#include "cri/berth_service.h"

#include "base/utf8.h"
#include "cri/progress_mailbox.h"
#include "cri/redact.h"
#include "cri/status.h"
#include "cri/translate_request.h"
#include "image/reference.h"

namespace berth::cri {

namespace {

constexpr int kWatchIntervalMs = 200;

bv1::WatchPullsResponse Snapshot(image::Puller& puller) {
  bv1::WatchPullsResponse out;
  for (const image::PullUnderWay& pull : puller.UnderWay()) {
    bv1::PullUnderWay* to = out.add_pulls();
    to->set_reference(pull.reference);
    to->set_started_at(pull.started_at_ns);
    for (const image::LayerProgress& layer : pull.layers) ToPb(layer, to->add_layers());
  }
  return out;
}

Result<std::string> TagOf(const std::string& name) {
  ASSIGN_OR_RETURN(std::string checked, ReferenceOf(name, "name"));
  ASSIGN_OR_RETURN(const image::Reference reference, image::ParseReference(checked), "name");
  if (!reference.digest.empty()) {
    return Error(Code::kInvalidArgument,
                 StrCat("name: \"", Printable(name), "\" has a digest, which is no name to give"));
  }
  return reference.ToString();
}

}  // namespace

grpc::Status BerthService::Pull(grpc::ServerContext* call, const bv1::PullRequest* request,
                                grpc::ServerWriter<bv1::PullResponse>* writer) {
  return Answer([&]() -> berth::Status {
    image::PullRequest pull;
    ASSIGN_OR_RETURN(pull.reference, ReferenceOf(request->image().image(), "image.image"));
    pull.auth = AuthOf(request->auth());
    bv1::PullResponse last;
    auto transfer = [&](const Context& context, image::ProgressCallback progress) -> berth::Status {
      pull.progress = std::move(progress);
      ASSIGN_OR_RETURN(auto image, parts_.puller.Pull(context, pull));
      last.set_image_ref(image->id);
      return Ok();
    };
    auto write = [&](const std::vector<image::LayerProgress>& layers) {
      last.clear_layers();
      for (const image::LayerProgress& layer : layers) ToPb(layer, last.add_layers());
      bv1::PullResponse news;
      *news.mutable_layers() = last.layers();
      return writer->Write(news);
    };
    auto pulled = RunTransfer(*call, lifetime_, transfer, write);
    if (!pulled.ok()) return Redact(std::move(pulled).error(), pull.auth);
    writer->Write(last);
    return Ok();
  });
}

grpc::Status BerthService::WatchPulls(grpc::ServerContext* call, const bv1::WatchPullsRequest*,
                                      grpc::ServerWriter<bv1::WatchPullsResponse>* writer) {
  std::string told;
  for (bool first = true; !call->IsCancelled(); first = false) {
    const bv1::WatchPullsResponse now = Snapshot(parts_.puller);
    std::string text = now.SerializeAsString();
    if ((first || text != told) && !writer->Write(now)) break;
    told = std::move(text);
    std::vector<pollfd> nothing;
    if (!lifetime_.Poll(nothing, kWatchIntervalMs, "").ok()) break;
  }
  return grpc::Status::OK;
}

grpc::Status BerthService::TagImage(grpc::ServerContext*, const bv1::TagImageRequest* request,
                                    bv1::TagImageResponse* response) {
  return Answer([&]() -> berth::Status {
    ASSIGN_OR_RETURN(auto reference, ReferenceOf(request->image(), "image"));
    ASSIGN_OR_RETURN(auto name, TagOf(request->name()));
    // Should the image be removed meanwhile, its layers stay for what is recorded here.
    const image::LayerHold hold(parts_.images);
    auto found = parts_.images.Find(reference);
    if (found == nullptr) {
      return Error(Code::kNotFound, StrCat("image: there is no \"", Printable(reference), "\""));
    }
    image::Image tagged = *found;
    tagged.repo_tags = {name};
    RETURN_IF_ERROR(parts_.images.Put(tagged));
    response->set_name(name);
    return Ok();
  });
}

grpc::Status BerthService::PushImage(grpc::ServerContext* call,
                                     const bv1::PushImageRequest* request,
                                     grpc::ServerWriter<bv1::PushImageResponse>* writer) {
  return Answer([&]() -> berth::Status {
    image::PushRequest push;
    ASSIGN_OR_RETURN(push.image, ReferenceOf(request->image(), "image"));
    push.destination = request->destination();
    push.auth = AuthOf(request->auth());
    bv1::PushImageResponse last;
    auto transfer = [&](const Context& context, image::ProgressCallback progress) -> berth::Status {
      push.progress = std::move(progress);
      ASSIGN_OR_RETURN(const auto pushed, parts_.pusher.Push(context, push));
      last.set_digest(pushed.digest);
      last.set_image_ref(pushed.image_id);
      if (!pushed.warning.empty()) last.add_warnings(ToUtf8(pushed.warning));
      return Ok();
    };
    auto write = [&](const std::vector<image::LayerProgress>& layers) {
      bv1::PushImageResponse news;
      for (const image::LayerProgress& layer : layers) ToPb(layer, news.add_layers());
      *last.mutable_layers() = news.layers();
      return writer->Write(news);
    };
    auto pushed = RunTransfer(*call, lifetime_, transfer, write);
    if (!pushed.ok()) return Redact(std::move(pushed).error(), push.auth);
    writer->Write(last);
    return Ok();
  });
}

grpc::Status BerthService::CollectGarbage(grpc::ServerContext*, const bv1::CollectGarbageRequest*,
                                          bv1::CollectGarbageResponse* response) {
  return Answer([&]() -> berth::Status {
    ASSIGN_OR_RETURN(const size_t forgotten, parts_.images.ForgetIncomplete());
    RETURN_IF_ERROR(parts_.images.ForgetUnfinished(""));
    ASSIGN_OR_RETURN(const auto collected, parts_.images.CollectLayers());
    response->set_removed_layers(collected.layers);
    response->set_freed_bytes(collected.bytes);
    response->set_forgotten_images(forgotten);
    response->set_postponed(collected.postponed);
    return Ok();
  });
}

}  // namespace berth::cri
