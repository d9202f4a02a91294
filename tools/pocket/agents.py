"""Tools as coding agents and other clients name them, a kit a client, in the form of families.py.

A kit stands in a request as a whole or in part, with long descriptions. A result without a key is
given as plain text, as such clients send it.
"""

KITS = {
    "capital names": """
Read|Read a file from the disk|file_path:path,offset?:count,limit?:count|Read {file_path}.;What is in {file_path}?;Show me the file {file_path}.;Open {file_path}.;Read {limit} lines of {file_path} from line {offset}.;What does {file_path} say?;Look at {file_path}.|:code
Write|Write a file to the disk|file_path:path,content:content|Write {content} to {file_path}.;Create the file {file_path} with the text {content}.;Save {content} as {file_path}.;Make a new file {file_path} that says {content}.|
Edit|Replace a text in a file by another one|file_path:path,old_string:text,new_string:text,replace_all?:boolean|In {file_path}, replace {old_string} by {new_string}.;Change {old_string} to {new_string} in {file_path}.;Edit {file_path}: {old_string} should be {new_string}.;Replace {old_string} with {new_string} in the file {file_path}.|
Bash|Run a command in the shell|command:command,timeout?:count,description?:phrase|Run {command}.;Run the command {command}.;Execute {command}.;Run the tests with {command}.;Build it with {command}.;Please run {command} with a timeout of {timeout}.;What does {command} print?|:output
Grep|Search the contents of the files for a pattern|pattern:pattern,path?:folder,glob?:glob|Search for {pattern}.;Search the files for {pattern}.;Which files contain {pattern}?;Find {pattern} in {path}.;Where is {pattern} used?;grep {pattern} in {path}|:listing
Glob|Find files by the pattern of their names|pattern:glob,path?:folder|Find all files that match {pattern}.;Which files are named like {pattern}?;List the files {pattern} in {path}.;Find {pattern} files.|:listing
LS|List what is in a directory|path:dir|List the directory {path}.;List the files in {path}.;What is in the folder {path}?;ls {path};Show me what is in {path}.;Which files are in {path}?|:listing
WebFetch|Fetch a web page and answer a question about it|url:url,prompt:text|Fetch {url} and answer {prompt}.;Look at {url}: {prompt}.;Go to {url} and find {prompt}.|:sentence
WebSearch|Search the web|query:text|Search the web for {query}.;Look up {query} on the web.;What does the web say about {query}?|:sentence
Task|Hand a task to another agent|description:phrase,prompt:text|Start an agent {description} with the prompt {prompt}.;Let another agent do {description}, its prompt is {prompt}.|:sentence
""",
    "camel keys": """
read|Read a file from the disk|filePath:path,offset?:count,limit?:count|Read {filePath}.;What is in {filePath}?;Show me {filePath}.;Read {limit} lines of {filePath} from line {offset}.;Open the file {filePath}.|:code
write|Write a file to the disk|filePath:path,content:content|Write {content} to {filePath}.;Create {filePath} with the content {content}.;Put {content} into the file {filePath}.|
edit|Replace a text in a file by another one|filePath:path,oldString:text,newString:text|In {filePath}, replace {oldString} by {newString}.;Change {oldString} to {newString} in {filePath}.;Edit the file {filePath}, put {newString} in place of {oldString}.|
bash|Run a command in the shell|command:command,timeout?:count,description?:phrase|Run {command}.;Execute the command {command}.;Start the tests with {command}.;Use the shell: {command}.;Can you run {command} for me?;Run {command} with a timeout of {timeout}.|:output
grep|Search the contents of the files for a pattern|pattern:pattern,path?:folder,include?:glob|Search for {pattern}.;Where is {pattern} in the code?;Find {pattern} in {path}.;Search the files {include} for {pattern}.|:listing
glob|Find files by the pattern of their names|pattern:glob,path?:folder|Find the files {pattern}.;Which files match {pattern}?;Find files named {pattern} in {path}.|:listing
list|List what is in a directory|path:dir|List {path}.;List the files in {path}.;What is in the directory {path}?;Show the folder {path}.;Show me what is in {path}.;Which files does {path} have?|:listing
webfetch|Fetch the text of a web page|url:url,format?:text/markdown/html|Fetch {url}.;Get the page {url} as {format}.;What does {url} say?|:sentence
""",
    "commands and patches": """
shell|Run a command in the shell|command:command,workdir?:dir|Run {command}.;Execute {command}.;Run {command} in the directory {workdir}.;What does {command} say?|:output
exec_command|Start a command that may run for long|cmd:command,workdir?:dir,yield_time_ms?:count|Start {cmd}.;Start the command {cmd} in {workdir}.;Start {cmd} and wait {yield_time_ms} ms.|:output
apply_patch|Apply a patch to the files|input:content|Apply the patch {input}.;Please apply this patch: {input}.;Patch the files with {input}.|
view_image|Show an image from the disk|path:path|Show the image {path}.;Look at the picture {path}.;View {path}, it is an image.|
read_file|Read a file from the disk|file_path:path,offset?:count,limit?:count|Read {file_path}.;What is in {file_path}?;Show me {file_path}.;Read {limit} lines of the file {file_path} from {offset}.|:code
list_dir|List a directory|dir_path:dir,depth?:count|List the directory {dir_path}.;List the files in {dir_path}.;Show me what is in {dir_path}.;What is in {dir_path}?;List {dir_path} with depth {depth}.;Show me the folder {dir_path}.;Which files are in the directory {dir_path}?|:listing
grep_files|Find the files whose text matches a pattern|pattern:pattern,path?:folder,include?:glob|Which files contain {pattern}?;Find {pattern} in {path}.;Search the files {include} for {pattern}.;Search for {pattern}.|:listing
write_stdin|Write text to a running command|session_id:count,chars:text|Send {chars} to the session {session_id}.;Type {chars} into session {session_id}.;Write {chars} to the command in session {session_id}.|:output
""",
    "editor": """
read_file|Read the text of a file|path:path|Read {path}.;What is in {path}?;Show me {path}.;Open the file {path}.;What does the file {path} say?|:code
write_to_file|Write text to a file|path:path,content:content|Write {content} to {path}.;Create {path} with {content}.;Save the text {content} in {path}.|
replace_in_file|Replace a part of a file|path:path,search:text,replace:text|Replace {search} by {replace} in {path}.;Change {search} to {replace} in the file {path}.|
search_files|Search the files of a folder for a pattern|path:dir,regex:pattern,file_pattern?:glob|Search {path} for {regex}.;Find {regex} in the files of {path}.;Search the files {file_pattern} in {path} for {regex}.|:listing
list_files|List the files of a folder|path:dir,recursive?:boolean|List the files in {path}.;Which files are in {path}?;List {path}, recursive {recursive}.;Show the files of the folder {path}.|:listing
list_dir|List a directory|path:dir|List the directory {path}.;What is in the directory {path}?;ls {path};Show me the directory {path}.|:listing
execute_command|Run a command in the terminal|command:command,requires_approval?:boolean|Run {command}.;Execute {command} in the terminal.;Please run the command {command}.|:output
ask_user|Ask the user a question|question:text|Ask me {question}.;I want you to ask {question}.;Put the question {question} to the user.|:sentence
""",
    "file server": """
read_text_file|Read the whole text of a file|path:path,head?:count,tail?:count|Read {path}.;What is in {path}?;Show the first {head} lines of {path}.;Show the last {tail} lines of {path}.|:code
write_file|Create a file or replace its text|path:path,content:content|Write {content} to {path}.;Create the file {path} with {content}.;Replace the text of {path} by {content}.|
edit_file|Change lines of a file|path:path,oldText:text,newText:text,dryRun?:boolean|Change {oldText} to {newText} in {path}.;In {path}, put {newText} instead of {oldText}.;Edit {path}: {oldText} becomes {newText}, dry run {dryRun}.|
create_directory|Create a directory|path:dir|Create the directory {path}.;Make a folder {path}.;I need the directory {path}.|
list_directory|List what is in a directory|path:dir|List {path}.;What is in the directory {path}?;Which files are in the folder {path}?|:listing
directory_tree|Show a directory with all below it as a tree|path:dir|Show the tree of {path}.;What does the directory tree of {path} look like?;Tree of {path}, please.|:listing
move_file|Move or rename a file|source:path,destination:path|Move {source} to {destination}.;Rename {source} to {destination}.;The file {source} should go to {destination}.|
search_files|Search for files by a pattern of their names|path:dir,pattern:glob|Search {path} for files like {pattern}.;Find {pattern} below {path}.;Which files in {path} match {pattern}?|:listing
get_file_info|Get size and times of a file|path:path|How big is {path}?;When was {path} changed?;Get the file info of {path}.|:output
""",
    "repository": """
git_status|Show the status of the repository|repo_path:dir|What is the status of the repository {repo_path}?;git status of {repo_path};Show what changed in {repo_path}.|:output
git_diff|Show the differences of the repository|repo_path:dir,target?:word|Show the diff of {repo_path}.;What differs in {repo_path} from {target}?;git diff {target} in {repo_path}|:code
git_commit|Commit the changes|repo_path:dir,message:text|Commit {repo_path} with the message {message}.;Commit the changes in {repo_path}: {message}.|
git_log|Show the last commits|repo_path:dir,max_count?:count|Show the last {max_count} commits of {repo_path}.;What are the last commits of {repo_path}?|:output
create_issue|Create an issue in a repository|owner:word,repo:word,title:text,body?:text|Create the issue {title} in {owner}/{repo}.;Open an issue {title} in the repository {repo} of {owner}.;New issue in {owner}/{repo}: title {title}, body {body}.|number:integer
get_issue|Get an issue of a repository|owner:word,repo:word,issue_number:count|Show issue {issue_number} of {owner}/{repo}.;What is the issue {issue_number} in {owner}/{repo} about?|title:sentence
search_repositories|Search for repositories|query:text,page?:count|Search for repositories about {query}.;Find a repository for {query}.;Which repositories match {query}?|:listing
create_pull_request|Create a pull request|owner:word,repo:word,title:text,head:word,base:word|Create a pull request {title} in {owner}/{repo} from {head} to {base}.;Open a pull request from {head} to {base} in {owner}/{repo}, title {title}.|number:integer
""",
    "assistant": """
get_current_weather|Get the current weather in a given location|location:city,unit?:celsius/fahrenheit|What is the weather in {location}?;What's the weather like in {location}?;What's the weather like in {location} today?;How is the weather in {location}?;What is the weather in {location} in {unit}?;Do I need an umbrella in {location}? Check the weather.;How warm is it in {location} right now?|temperature:integer,conditions:word
get_forecast|Get the forecast of the next days for a location|location:city,num_days:count|What will the weather be in {location} over the next {num_days} days?;Give me the {num_days} day forecast for {location}.;Forecast for {location}, {num_days} days.|forecast:phrase
get_stock_price|Get the current price of a stock|ticker:symbol|What is the stock price of {ticker}?;How is {ticker} doing?;What does a share of {ticker} cost?;Price of {ticker}, please.|price:number
send_email|Send an email|to:email,subject:text,body:text|Send an email to {to} with the subject {subject} and the body {body}.;Email {to}, subject {subject}, saying {body}.;Write to {to} with subject {subject}: {body}.|
search_knowledge_base|Search the knowledge base|query:text,top_k?:count|What does the knowledge base say about {query}?;Search the knowledge base for {query}.;Find {top_k} entries on {query} in the knowledge base.|:sentence
get_time|Get the current time in a place|location:city|What time is it in {location}?;What's the time in {location}?;Tell me the time in {location}.|time:time
add|Add two numbers|a:integer,b:integer|What is {a} plus {b}?;Add {a} and {b}.;{a} + {b}?;What's {a} + {b}?|:integer
multiply|Multiply two numbers|a:integer,b:integer|What is {a} times {b}?;Multiply {a} by {b}.;{a} * {b}?;What's {a} x {b}?|:integer
find_flights|Find flights between two cities on a day|origin:city,destination:city,departure_date:date|Find a flight from {origin} to {destination} on {departure_date}.;I want to fly from {origin} to {destination} on {departure_date}.;Flights from {origin} to {destination} on {departure_date}, please.|flights:list
query_orders|Look up the orders of a customer|customer_id:id,status?:open/shipped/returned|Show the orders of customer {customer_id}.;Which orders of {customer_id} are {status}?;What did customer {customer_id} order?|orders:list
"""}

# said of any tool; clients write such lines by the dozen
ADVICE = [text for line in """
Use it only when it is needed.|Paths must be absolute.|Give whole words.|The result may be cut.|Long lines are cut after 2000 characters.
Read a file before you change it.|Do not use it for other things.|Several calls may be made at once.|It has no access to the network.
If it fails, tell the user why.|The default is good in most cases.|Never guess a value.|Prefer it to the shell.|Text must match exactly.
It works on Linux and macOS.|Results are sorted by time.|Empty results are not an error.|Leave out what you do not know.
Hidden files are not shown.|Output goes to the user too.|Quote names with spaces.|It waits at most 120 seconds.|Do not repeat a call that worked.
It is fast with large projects.|Use one call for each thing.
""".strip().splitlines() for text in line.split("|")]

# what a client says of a parameter, by its name
PARAM_TEXTS = {
    "file_path": "The absolute path of the file|Path of the file, such as /home/me/notes.txt|The file",
    "filePath": "The absolute path to the file|Path of the file",
    "path": "The path, relative to the working directory|Path of the file or folder|The absolute path|"
            "Where to look; the working directory if left out",
    "command": "The command to run|The shell command, such as ls -l|Command line",
    "cmd": "The command to run|Shell command",
    "pattern": "The pattern to look for|A regular expression, such as log.*Error|The glob pattern, such as **/*.ts",
    "location": "The city and state, e.g. San Francisco, CA|The city, for example Paris|Name of the city",
    "unit": "The unit of the temperature|celsius or fahrenheit",
    "content": "The text to write|The whole content of the file",
    "query": "What to search for|The query, at least 2 characters",
    "url": "The address of the page, with https://|URL",
    "timeout": "How long to wait, in milliseconds (at most 600000)|Timeout in seconds",
    "description": "What it does, in 5 to 10 words|A short description of the task",
    "old_string": "The text to replace|The old text, exactly as it stands",
    "new_string": "The text to put in its place (must differ)|The new text",
    "ticker": "The ticker symbol, e.g. IBM",
    "limit": "How many lines to read|The number of lines",
    "offset": "The line to start at|First line, counted from 1",
    "repo_path": "Path of the repository",
    "dir_path": "Absolute path of the directory",
    "to": "Address of the receiver",
    "body": "Text of the mail",
    "message": "The message of the commit",
    "workdir": "Where to run it; the current directory if left out",
}
