// Lowering one stage, instruction by instruction.
#pragma once

#include "dockerfile/stage_state.h"

namespace varve::dockerfile {

// `stage`'s base must be resolved, the stages that it needs lowered.
Status LowerStage(Lowering& lowering, StageState& stage);

// What the instruction handlers share. One object for each command.
class CommandScope {
 public:
  CommandScope(Lowering& lowering, StageState& stage, const Command& command)
      : lowering_(lowering), stage_(stage), command_(command) {}

  Lowering& lowering() const { return lowering_; }
  StageState& stage() const { return stage_; }
  const Command& command() const { return command_; }
  const Origin& origin() const { return command_.instruction.origin; }

  // A word with the stage's variables; undefined ones are reported.
  Result<std::string> Expand(std::string_view word) const;
  // The body of a here-document, where quotes and the escape directive mean nothing.
  Result<std::string> ExpandDocument(std::string_view body) const;

  // The text of the instruction as step names show it: variables expanded, keyword in upper case.
  std::string Title() const;
  // A step of this instruction: platform, stage, place; `prefix` in front of the title is its name.
  graph::Step NewStep(const std::string& prefix, const std::string& title) const;
  std::string PlatformPart() const;  // of the prefix

  // An absolute path for one that is relative to the working directory, cleaned; "into a directory"
  // endings ("/", "/.", ".") become a trailing slash.
  Result<std::string> DestinationPath(const std::string& given) const;

  // Adds to the history; `step` is the one whose layer the entry describes.
  void AddHistory(const std::string& created_by, std::optional<graph::Ref> step) const;

 private:
  Lowering& lowering_;
  StageState& stage_;
  const Command& command_;
};

// "user[:group]" as of --chown and USER.
graph::Owner ReadOwner(const std::string& text);

}  // namespace varve::dockerfile
