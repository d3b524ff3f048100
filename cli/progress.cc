#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/fd.h"
#include "base/strings.h"
#include "cli/output.h"

namespace berth::cli {

namespace {

constexpr size_t kStateWidth = 12;

bool Ended(const bv1::LayerProgress& layer) {
  return layer.state() >= bv1::LAYER_DONE;
}

std::string_view StateText(bv1::LayerState state) {
  constexpr std::array<std::string_view, 6> kTexts = {"waiting", "downloading", "unpacking",
                                                      "done",    "exists",      "failed"};
  const auto i = static_cast<size_t>(state);
  return i < kTexts.size() ? kTexts[i] : "";
}

std::string LayerId(const bv1::LayerProgress& layer) {
  return Printable(ShortId(layer.digest()));
}

std::string LayerLine(const bv1::LayerProgress& layer) {
  std::string line = StrCat(LayerId(layer), "  ", StateText(layer.state()));
  line.append(kStateWidth - std::min(kStateWidth, StateText(layer.state()).size()), ' ');
  if (layer.state() == bv1::LAYER_DOWNLOADING) {
    line += HumanBytes(layer.done_bytes());
    if (layer.total_bytes() > 0) line += StrCat(" of ", HumanBytes(layer.total_bytes()));
  } else if (layer.total_bytes() > 0) {
    line += HumanBytes(layer.total_bytes());
  }
  return line;
}

}  // namespace

std::vector<std::string> ProgressLines(const LayerList& layers, size_t rows, size_t columns) {
  std::vector<std::string> lines;
  const bool all_fit = static_cast<size_t>(layers.size()) <= rows;
  size_t ended = 0;
  for (const auto& layer : layers) {
    if (Ended(layer)) ++ended;
    if (all_fit ||
        (layer.state() != bv1::LAYER_WAITING && !Ended(layer) && lines.size() + 1 < rows)) {
      lines.push_back(LayerLine(layer));
    }
  }
  if (!all_fit) lines.push_back(StrCat(ended, " of ", layers.size(), " layers are there"));
  for (std::string& line : lines) line.resize(std::min(line.size(), columns));
  return lines;
}

std::vector<std::string> ProgressChanges(const LayerList& before, const LayerList& now) {
  std::vector<std::string> lines;
  for (int i = 0; i < now.size(); ++i) {
    const bool known = i < before.size();
    if (known ? before[i].state() == now[i].state() : now[i].state() == bv1::LAYER_WAITING)
      continue;
    std::string line = StrCat(LayerId(now[i]), ": ", StateText(now[i].state()));
    if (now[i].total_bytes() > 0) line += StrCat(", ", HumanBytes(now[i].total_bytes()));
    lines.push_back(std::move(line));
  }
  return lines;
}

ProgressView::ProgressView(int fd) : fd_(fd), terminal_(isatty(fd) != 0) {}

void ProgressView::Show(const LayerList& layers) {
  std::string text;
  if (terminal_) {
    winsize size{};
    const bool known = ioctl(fd_, TIOCGWINSZ, &size) == 0 && size.ws_row > 2 && size.ws_col > 0;
    const auto lines =
        ProgressLines(layers, known ? size.ws_row - 1 : 23, known ? size.ws_col - 1 : 79);
    if (drawn_ > 0) text = StrCat("\x1b[", drawn_, "A");
    for (const std::string& line : lines) text += StrCat("\r\x1b[K", line, "\n");
    text += "\x1b[J";
    drawn_ = lines.size();
  } else {
    for (const std::string& line : ProgressChanges(last_, layers)) text += line + "\n";
  }
  last_ = layers;
  // Who reads no progress still wants the image.
  if (!text.empty()) (void)WriteAll(fd_, text);
}

}  // namespace berth::cli
