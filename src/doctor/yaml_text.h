// What YAML files of continuous integration hold: scripts and lists inside of block scalars, with
// the lines that they stand on. Internal to the module.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "compose/node.h"
#include "doctor/project.h"

namespace varve::doctor {

struct BlockText {
  std::string text;    // a script: one line of it is one line of the file
  int first_line = 0;  // of `text` in the file
};
// Of `|`, `>` and plain scalars. Folded text comes back with its line breaks, as a command that
// goes on over them.
BlockText TextOf(const SourceFile& file, const compose::Node& node);

// The items of a list that an action takes as text: one a line, and with `commas` also several. A
// YAML list is taken as well.
std::vector<Argument> ItemsOf(const SourceFile& file, const compose::Node& node, bool commas);

// The single document of a file; nothing, and a mention, where it is none.
std::optional<compose::Node> ParseYamlFile(Project& project, const SourceFile& file);

// A member's text, "" without one.
std::string TextAt(const compose::Node& node, std::string_view key);
int LineOf(const compose::Node& node);

// "true", true; an expression is not true.
bool IsTrue(const compose::Node* node);
bool IsExpression(const compose::Node* node);

}  // namespace varve::doctor
