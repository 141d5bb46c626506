package commandline

// completionScripts make a shell ask the program itself for completions: they run
// the command line so far, with completionFlag appended. The word being typed is
// part of that line only if it begins with a hyphen.
var Scripts = []struct{ Shell, Alias, Script string }{
	{"bash", "", `# Put this into ~/.bashrc: source <(coffee completion bash)
_coffee_complete() {
	local word="${COMP_WORDS[COMP_CWORD]}" line=("${COMP_WORDS[@]:0:COMP_CWORD}")
	[[ $word == -* ]] && line+=("$word")
	local IFS=$'\n'
	COMPREPLY=($(compgen -W "$("${line[@]}" --generate-bash-completion 2>/dev/null)" -- "$word"))
}
complete -o bashdefault -o default -F _coffee_complete coffee
`},
	{"zsh", "", `#compdef coffee
# Put this into ~/.zshrc, after compinit: source <(coffee completion zsh)
_coffee() {
	local -a line found
	line=("${(@)words[1,CURRENT-1]}")
	[[ "$words[CURRENT]" == -* ]] && line+=("$words[CURRENT]")
	found=("${(@f)$("${(@)line}" --generate-bash-completion 2>/dev/null)}")
	if [[ -n "$found[1]" ]]; then
		compadd -- "${(@)found}"
	else
		_files
	fi
}
compdef _coffee coffee
`},
	{"fish", "", `# Put this into ~/.config/fish/completions/coffee.fish
function __coffee_complete
	set -l line (commandline -opc)
	set -l word (commandline -ct)
	string match -q -- '-*' $word; and set -a line $word
	set -l found ($line --generate-bash-completion 2>/dev/null)
	if set -q found[1]
		printf '%s\n' $found
	else
		__fish_complete_path $word
	end
end
complete -c coffee -f -a '(__coffee_complete)'
`},
	{"powershell", "pwsh", `# Put this into $PROFILE: coffee completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName coffee -ScriptBlock {
	param($word, $ast, $position)
	$line = @($ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" })
	if ($word -and -not $word.StartsWith('-')) { $line = @($line | Select-Object -SkipLast 1) }
	coffee @line --generate-bash-completion 2>$null | Where-Object { $_ -like "$word*" } | ForEach-Object {
		[System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
	}
}
`},
}
