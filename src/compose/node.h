// A Compose document as a tree that remembers where each value was written.
//
// What base/yaml.h does not keep and Compose needs: places for errors, the tags !reset and
// !override, merge keys (<<), and several documents in one file.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace varve::compose {

// "compose.yaml:3:5". Lines and columns count from 1; 0 is a value that no file has.
struct Place {
  std::shared_ptr<const std::string> file;
  size_t line = 0;
  size_t column = 0;

  std::string ToString() const;
};

struct Node {
  enum class Kind { kScalar, kSequence, kMapping };
  enum class Tag { kNone, kReset, kOverride };
  struct Member;

  Kind kind = Kind::kScalar;
  Json scalar;                  // null, boolean, number or string
  std::vector<Node> items;      // of a sequence
  std::vector<Member> members;  // of a mapping, in the order of the file; keys are unique
  Tag tag = Tag::kNone;
  Place place;

  bool is_null() const { return kind == Kind::kScalar && scalar.is_null(); }
  bool is_string() const { return kind == Kind::kScalar && scalar.is_string(); }
  bool is_scalar() const { return kind == Kind::kScalar; }
  bool is_sequence() const { return kind == Kind::kSequence; }
  bool is_mapping() const { return kind == Kind::kMapping; }

  const Node* Find(std::string_view key) const;
  Node* Find(std::string_view key);
  // Replaces the member of that name in its place, or appends one.
  Node& Set(std::string_view key, Node value);
  void Erase(std::string_view key);
  // A scalar as Go prints it: true, 8080, 1.1; null is empty.
  std::string Text() const;
  Json ToJson() const;

  static Node String(std::string text, Place place);
  static Node Null(Place place);
  static Node Mapping(Place place);
  static Node Sequence(Place place);
};

struct Node::Member {
  std::string key;
  Place place;
  Node value;
};

// "FILE:LINE:COLUMN: message".
Error ErrorAt(const Place& place, std::string_view message);

// The documents of the text, in order; those that are empty are left out. `file` is the name for
// messages. kInvalid with its place for malformed text, keys that stand twice or are no scalars,
// deep nesting, and aliases that blow the text up to more than 100 000 values (compose-go's limit).
Result<std::vector<Node>> ParseDocuments(std::string_view text, const std::string& file);

}  // namespace varve::compose
