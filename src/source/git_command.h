// One run of the git program for git.cc and git_checkout.cc: environment, credentials, errors.
#pragma once

#include <map>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "source/git.h"

namespace varve::source {

class GitCommand {
 public:
  // Checks remote and credentials: kInvalid for a scheme that is not permitted, and for control
  // characters, which would make a second header.
  static Result<GitCommand> Create(std::string remote, GitAccess access, GitProgress progress, std::stop_token stop);

  // git <arguments> in `directory` (empty: wherever we are): its stdout.
  Result<std::string> Run(const std::vector<std::string>& arguments, const std::string& directory = {}) const;
  // The same for work on this machine's repositories only: has no credentials, reaches no network,
  // may read repositories by path.
  Result<std::string> RunLocal(const std::vector<std::string>& arguments,
                               const std::map<std::string, std::string>& environment = {}) const;

  const std::string& remote() const { return remote_; }
  std::string shown_remote() const { return Mask(remote_); }  // for messages

 private:
  GitCommand() = default;
  Result<std::string> Start(const std::vector<std::string>& arguments,
                            const std::map<std::string, std::string>& environment, const std::string& directory) const;
  std::map<std::string, std::string> Environment(bool local) const;
  Error Explain(std::string_view verb, int status, std::string text) const;
  std::string Mask(std::string text) const;

  std::string remote_;
  std::string scheme_;     // "https", "ssh" for git@host:path, …
  std::string authority_;  // "https://host:port/"; empty unless http(s)
  std::string host_;       // for messages
  std::string user_;       // "user@" of an http(s) URL: may be a token, masked
  GitAccess access_;
  std::vector<std::string> secrets_;  // what must not be seen, longest first
  GitProgress progress_;
  std::stop_token stop_;
};

}  // namespace varve::source
