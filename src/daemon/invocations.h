// Which call of a front end a definition came from. A client may give a definition that it got from one call to another
// one as an input, also in another build; the provenance of the second then says how the first was asked.
//
// A call is known until the build ends in which it was made. Safe from any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/ops.pb.h"
#include "attest/invocation.h"
#include "base/guarded.h"

namespace varve::daemon {

class Invocations {
 public:
  // `build`: SolveRequest.ref. A definition without a result is of no call.
  void Add(const std::string& build, const pb::Definition& definition, attest::Invocation invocation);
  void Forget(const std::string& build);
  // Nothing: it came from no call that is known, or from several that were asked differently.
  std::optional<attest::Invocation> Find(const pb::Definition& definition) const;

 private:
  struct Call {
    std::string build;
    attest::Invocation invocation;
  };
  mutable Guarded<std::map<std::string, std::vector<Call>>> by_result_;  // the digest of the Op that gives it
};

}  // namespace varve::daemon
