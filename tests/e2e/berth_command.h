// The fixture of tests that type the berth command.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {

class BerthCommandTest : public E2eTest {
 protected:
  SpawnOptions Command(std::vector<std::string> args) {
    SpawnOptions options;
    options.path = BinDir() + "/berth";
    options.args = std::move(args);
    options.args.insert(options.args.begin(), "berth");
    options.env = {"PATH=/usr/bin:/bin", StrCat("BERTH_ADDRESS=unix://", node().socket()),
                   "FROM_HERE=env"};
    return options;
  }
  RunOutput Berth(std::vector<std::string> args, std::string_view input = "") {
    constexpr size_t kMaxOutputBytes = 64 << 20;  // of an export
    auto output = RunProgram(Context::WithTimeoutMs(60'000), Command(std::move(args)), input,
                             kMaxOutputBytes);
    EXPECT_OK(output);
    return output.ok() ? *output : RunOutput{-1, "", ""};
  }
};

}  // namespace berth::e2e
