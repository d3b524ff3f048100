#include "tests/bench/report.h"

#include <algorithm>
#include <cstdio>

#include "base/strings.h"

namespace berth::bench {
namespace {

constexpr int kNameWidth = 40;
constexpr int kNumberWidth = 9;

std::string Padded(std::string_view text, int width) {
  std::string out(text);
  if (static_cast<int>(out.size()) < width) out.append(width - out.size(), ' ');
  return out;
}

std::string Right(std::string_view text, int width) {
  int blanks = width - static_cast<int>(text.size());
  return std::string(std::max(blanks, 1), ' ').append(text);
}

// Three significant digits are all that a run on a shared machine can promise.
std::string Number(double value) {
  char buffer[32];
  int digits = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  snprintf(buffer, sizeof(buffer), "%.*f", digits, value);
  return buffer;
}

std::string CellText(const Cell* cell) {
  if (cell == nullptr || cell->samples.empty()) {
    std::string why = cell == nullptr || cell->note.empty() ? "-" : cell->note;
    return Right(why, 3 * kNumberWidth);
  }
  std::string out = Right(Number(cell->samples.Percentile(50)), kNumberWidth);
  // Percentiles of a handful are the same few samples again.
  bool spread = cell->samples.count() >= 5;
  for (int percent : {95, 99}) {
    out += Right(spread ? Number(cell->samples.Percentile(percent)) : "", kNumberWidth);
  }
  return out;
}

template <typename Cells>
const Cell* Find(const Cells& cells, const std::string& target) {
  auto it = cells.find(target);
  return it == cells.end() ? nullptr : &it->second;
}

}  // namespace

Cell& Report::At(std::string_view group, std::string_view name, std::string_view unit,
                 const std::string& target) {
  auto g = std::find_if(groups_.begin(), groups_.end(), [&](auto& x) { return x.name == group; });
  if (g == groups_.end()) g = groups_.insert(groups_.end(), Group{std::string(group), {}});
  auto r = std::find_if(g->rows.begin(), g->rows.end(), [&](auto& x) { return x.name == name; });
  if (r == g->rows.end()) {
    r = g->rows.insert(g->rows.end(), Row{std::string(name), std::string(unit), {}});
  }
  return r->cells[target];
}

double Report::P50(std::string_view group, std::string_view name, const std::string& target) const {
  for (const Group& g : groups_) {
    for (const Row& row : g.rows) {
      if (g.name != group || row.name != name) continue;
      const Cell* cell = Find(row.cells, target);
      return cell == nullptr ? 0 : cell->samples.Percentile(50);
    }
  }
  return 0;
}

double Report::Ratio(const Row& row) const {
  if (targets_.size() < 2) return 0;
  const Cell* first = Find(row.cells, targets_[0]);
  const Cell* second = Find(row.cells, targets_[1]);
  if (first == nullptr || second == nullptr || first->samples.empty()) return 0;
  double below = second->samples.Percentile(50);
  return below > 0 ? first->samples.Percentile(50) / below : 0;
}

std::string Report::Line(const Row& row) const {
  std::string line =
      Padded(StrCat("  ", row.name, row.unit.empty() ? "" : ", ", row.unit), kNameWidth);
  if (const Cell* common = Find(row.cells, "")) {
    return StrCat(line, CellText(common), "\n");
  }
  for (const std::string& target : targets_) line += CellText(Find(row.cells, target));
  if (double ratio = Ratio(row); ratio > 0) line += Right(Number(ratio), kNumberWidth);
  return line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
}

std::string Report::Table() const {
  std::string out;
  for (const auto& [name, value] : facts_.items()) {
    out += StrCat(name, ": ", value.is_string() ? value.get<std::string>() : ToText(value), "\n");
  }
  std::string names(kNameWidth, ' ');
  std::string columns(kNameWidth, ' ');
  for (const std::string& target : targets_) {
    names += Right(target, 3 * kNumberWidth);
    for (const char* column : {"p50", "p95", "p99"}) columns += Right(column, kNumberWidth);
  }
  out += StrCat("\n", names, targets_.size() > 1 ? Right("ratio", kNumberWidth) : "", "\n", columns,
                targets_.size() > 1 ? Right("of p50", kNumberWidth) : "", "\n");
  for (const Group& group : groups_) {
    out += StrCat(group.name, "\n");
    for (const Row& row : group.rows) out += Line(row);
  }
  for (const std::string& failure : failures_) out += StrCat("NOT MEASURED: ", failure, "\n");
  return out;
}

Json Report::ToJson() const {
  Json rows = Json::array();
  for (const Group& group : groups_) {
    for (const Row& row : group.rows) {
      Json results = Json::object();
      for (const auto& [target, cell] : row.cells) {
        if (cell.samples.empty()) {
          results[target] = {{"note", cell.note}};
          continue;
        }
        results[target] = {{"p50", cell.samples.Percentile(50)},
                           {"p95", cell.samples.Percentile(95)},
                           {"p99", cell.samples.Percentile(99)},
                           {"n", cell.samples.count()}};
      }
      rows.push_back({{"group", group.name},
                      {"name", row.name},
                      {"unit", row.unit},
                      {"results", std::move(results)}});
      if (double ratio = Ratio(row); ratio > 0) rows.back()["ratio"] = ratio;
    }
  }
  return {{"facts", facts_}, {"targets", targets_}, {"rows", rows}, {"failures", failures_}};
}

}  // namespace berth::bench
