// CNI network configurations (CNI spec 1.1, sections 1 and 3), as they are in /etc/cni/net.d.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace berth::runtime {

// NOLINTNEXTLINE(bugprone-exception-escape): moving a Json does not throw.
struct CniNetwork {
  std::string name;
  std::string version;  // cniVersion: "0.3.1" ... "1.1.0"
  bool disable_check = false;
  Json plugins;  // a list of objects, each with a "type" that is a plain file name
};

// One document: a list, or (`single`) one plugin's configuration, which becomes a list of one.
// InvalidArgument names the key.
Result<CniNetwork> ParseCniNetwork(std::string_view text, bool single);
// The same as a list: what ParseCniNetwork reads.
Json CniNetworkJson(const CniNetwork& network);

// The first valid *.conflist, *.conf or *.json by name. Without any the error (Unavailable) says
// what is wrong with the first invalid one, or that there is none.
Result<CniNetwork> LoadCniNetwork(const std::string& dir);

// CHECK, and a previous result for DEL, came with 0.4.0.
bool HasCniCheck(const std::string& version);

// Letters, digits, '.', '_' and '-', beginning with a letter or digit: network names, container
// ids, plugin types (they become file names: CVE-2021-20206).
bool IsCniName(std::string_view name);

}  // namespace berth::runtime
