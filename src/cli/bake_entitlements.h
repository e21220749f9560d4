// What a bake file may do on this machine without being asked: --allow (reference compose-bake.md,
// B14). A definition may come from somebody else; what it reads, writes and runs is the user's to grant.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "job/build_flags.h"

namespace varve::cli {

class Entitlements {
 public:
  // The values of --allow; the working directory may be read and written.
  static Result<Entitlements> Parse(const std::vector<std::string>& allowed);

  // Something that the command line names itself, by --set, is allowed.
  void AllowRead(const std::string& path) { read_.push_back(path); }
  void AllowWrite(const std::string& path) { write_.push_back(path); }
  void AllowKey(const std::string& key) { keys_.insert(key); }

  // Remembers what these flags need and is not allowed.
  void Need(const job::BuildFlags& flags);

  struct Missing {
    std::vector<std::string> said;   // a line each: " - Read access to path ../x"
    std::vector<std::string> flags;  // --allow=fs.read=../x
  };
  // `check_files`: without it, only what is not about files.
  Missing FindMissing(bool check_files) const;

 private:
  bool MayRead(const std::string& path) const;
  bool MayWrite(const std::string& path) const;

  std::set<std::string> keys_;  // network.host, security.insecure, ssh, device, device=NAME, buildx.local.delete
  std::vector<std::string> read_, write_;
  std::set<std::string> needed_keys_, needed_read_, needed_write_;
};

}  // namespace varve::cli
