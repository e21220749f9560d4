// The value of --chmod: octal ("0755") or symbolic ("u=rwX,go=rX"), as chmod(1) reads it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace varve::exec {

class FileMode {
 public:
  // Empty text: Apply changes nothing.
  static Result<FileMode> Parse(std::string_view text);

  // The mode (07777 bits) that a file of mode `mode` gets.
  uint32_t Apply(uint32_t mode, bool is_directory) const;

  // The mode of the directories that a copy makes for its destination. Of an octal value BuildKit drops the
  // bits beyond 0777, and sets the rest whatever its umask is (since 2026); symbolic clauses have no part in it.
  uint32_t OfMadeDirectories() const { return octal_ ? value_ & 0777 : 0755; }

 private:
  struct Change {
    uint32_t who = 0;  // mask over 07777: which bits the clause is about
    char op = '=';
    uint32_t bits = 0;        // permission bits for everybody, before `who` is applied
    bool execute_if = false;  // X: execute only for directories and what is executable already
    char copy_from = 0;       // g=u: 'u', 'g' or 'o'
  };
  bool octal_ = false;
  uint32_t value_ = 0;
  std::vector<Change> changes_;
};

}  // namespace varve::exec
