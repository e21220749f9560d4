// What --help prints: CLI11's content, with what a value is called, and lines that fit a terminal.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace varve::cli {

class HelpText final : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_subcommand(const CLI::App* command) const override;
};

}  // namespace varve::cli
