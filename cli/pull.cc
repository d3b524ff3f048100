#include "cli/pull.h"

#include <unistd.h>

#include "base/strings.h"
#include "cli/berth_client.h"
#include "cli/progress.h"

namespace berth::cli {

Result<std::string> Pull(Client& client, const rt::PullImageRequest& request) {
  const std::string what = StrCat("pull ", Printable(request.image().image()));
  bv1::PullRequest pull;
  *pull.mutable_image() = request.image();
  *pull.mutable_auth() = request.auth();
  ProgressView view(STDERR_FILENO);
  std::string image_ref;
  BerthClient berth(client.address());
  Status pulled = berth.Stream(pull, [&](const bv1::PullResponse& news) {
    view.Show(news.layers());
    image_ref = news.image_ref();
    return Ok();
  });
  if (pulled.code() == Code::kUnimplemented) {
    // Another CRI server.
    ASSIGN_OR_RETURN(auto response, client.Call(request), what);
    return response.image_ref();
  }
  RETURN_IF_ERROR(pulled, what);
  return image_ref;
}

}  // namespace berth::cli
