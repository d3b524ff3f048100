// What a run has measured, as a table for people and as JSON for programs. Not thread-safe.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tests/bench/samples.h"

namespace berth::bench {

// One figure. Where a target has no number for it, the note says why.
struct Cell {
  Samples samples;
  std::string note;
};

class Report {
 public:
  // The ratio of each row is the first target's p50 over the second's.
  explicit Report(std::vector<std::string> targets) : targets_(std::move(targets)) {}

  // The cell of a row and a target. Rows keep the order in which they were first asked for, groups
  // likewise; `unit` counts the first time. A figure of no target in particular has the target "".
  Cell& At(std::string_view group, std::string_view name, std::string_view unit,
           const std::string& target);
  // The p50 of a cell, 0 where there is none.
  double P50(std::string_view group, std::string_view name, const std::string& target) const;
  // Conditions of the run: versions, counts, load.
  void SetFact(const std::string& name, Json value) { facts_[name] = std::move(value); }
  // Something that should have been measured and was not.
  void AddFailure(std::string what) { failures_.push_back(std::move(what)); }
  bool failed() const { return !failures_.empty(); }

  std::string Table() const;
  Json ToJson() const;

 private:
  struct Row {
    std::string name;
    std::string unit;
    std::map<std::string, Cell> cells;
  };
  struct Group {
    std::string name;
    std::vector<Row> rows;
  };

  // 0 unless both of the first two targets have samples.
  double Ratio(const Row& row) const;
  std::string Line(const Row& row) const;

  std::vector<std::string> targets_;
  std::vector<Group> groups_;
  Json facts_ = Json::object();
  std::vector<std::string> failures_;
};

}  // namespace berth::bench
