"""More everyday tools, by area, in the form of families.py; a line that starts with '*' is never trained."""

NATURE = """
get_humidity|Get the humidity of a city|city:city|What's the humidity in {city}?;How humid is it in {city}?;Humidity in {city}?;Tell me the humidity of {city}.|percent:integer
get_wind|Get the wind speed in a city|city:city,unit?:kmh/mph/knots|How strong is the wind in {city}?;What's the wind like in {city}?;Wind speed in {city} in {unit}, please.;Is there much wind in {city}?|speed:integer
get_rain_chance|Get the chance of rain in a city|city:city,day?:day|Will it rain in {city} {day}?;What's the chance of rain in {city}?;Is rain coming to {city}?;Is there a chance of rain in {city}?|percent:integer
get_uv_index|Get the UV index of a city|city:city|What's the UV index in {city}?;How high is the UV in {city}?;UV index for {city}, please.|index:integer
*get_pollen|Get the pollen level of a city|city:city|How bad is the pollen in {city}?;What's the pollen level in {city}?;Pollen in {city} today?|level:word
get_tide|Get the time of the next tide at a port|port:city,kind?:high/low|When is the tide in {port}?;What time is the {kind} tide in {port}?;Next tide at {port}, please.|time:time
*get_snow_depth|Get the snow depth at a place|place:city|How deep is the snow in {place}?;What's the snow depth at {place}?;How much snow is there in {place}?|cm:integer
get_moon_phase|Get the phase of the moon on a date|date:date|What's the moon phase on {date}?;How will the moon look on {date}?;Phase of the moon on {date}?|phase:word
list_earthquakes|List the latest earthquakes|limit?:count|Were there any earthquakes?;Show the last {limit} earthquakes.;What are the latest earthquakes?|places:list
identify_plant|Find out which plant is in a photo|photo:file|Which plant is in {photo}?;What's the plant in the photo {photo}?;Can you identify the plant on {photo}?|plant:word
get_water_level|Get the water level of a river|river:word|What's the water level of the river {river}?;How high is the water in the {river}?;Water level of {river}, please.|meters:number
"""

TIME = """
convert_date|Convert a date to another calendar|date:date,calendar:chinese/islamic/hebrew|Convert {date} to the {calendar} calendar.;What's {date} in the {calendar} calendar?;Which date is {date} in the {calendar} calendar?|date:phrase
days_between|Count the days between two dates|start:date,end:date|How many days are between {start} and {end}?;How many days from {start} to {end}?;Count the days from {start} to {end}.|days:integer
add_days|Add days to a date|date:date,days:count|What date is {days} days after {date}?;Add {days} days to {date}.;Which date comes {days} days after {date}?|date:date
get_weekday|Get the day of the week of a date|date:date|Which day of the week is {date}?;What weekday is {date}?;On which weekday does {date} fall?|day:day
is_holiday|Check if a date is a holiday in a country|date:date,country:word|Is {date} a holiday in {country}?;Is there a holiday in {country} on {date}?;Check if {date} is a holiday in {country}.|holiday:boolean
pause_timer|Pause a running timer|timer:word|Pause the timer {timer}.;Hold the {timer} timer.;Can you pause timer {timer}?|
*start_countdown|Start a countdown of some seconds|seconds:count|Start a countdown of {seconds} seconds.;Count down from {seconds} seconds.;Countdown, {seconds} seconds, please.|
snooze_alarm|Snooze the alarm for some minutes|minutes:count|Snooze for {minutes} minutes.;Let me sleep {minutes} more minutes, snooze the alarm.;Snooze the alarm {minutes} minutes.|
log_hours|Log the hours of work on a project|project:word,hours:number|Log {hours} hours on {project}.;I worked {hours} hours on the project {project}.;Book {hours} hours of work on {project}.|
clock_in|Clock in for work at a time|time:time|Clock me in at {time}.;I started work at {time}, clock me in.;Clock in for {time}.|
request_vacation|Ask for vacation between two dates|start:date,end:date|I want vacation from {start} to {end}.;Request vacation from {start} until {end}.;Can you ask for my vacation from {start} to {end}?|status:word
*report_sick|Report a sick day|date:date|I am sick on {date}, report it.;Report a sick day for {date}.;Sick on {date}, please report.|
"""

MESSAGES = """
reply_email|Reply to an e-mail|id:id,body:text|Reply to the email {id} with {body}.;Answer mail {id}: {body}.;Can you reply {body} to the email {id}?|
delete_email|Delete an e-mail|id:id|Delete the email {id}.;Remove the mail {id}.;Put the email {id} in the trash.|
mark_email_read|Mark an e-mail as read|id:id|Mark the email {id} as read.;I have read email {id}, mark it.;Email {id} is read.|
count_unread|Count the unread e-mails||How many unread emails do I have?;Do I have unread mail?;What's the number of my unread emails?;Any unread mail?|count:integer
block_sender|Block a sender of e-mails|sender:email|Block the sender {sender}.;I want no more mail from the sender {sender}, block it.;Can you block {sender}?|
set_auto_reply|Set an automatic reply to e-mails|text:text,until?:date|Set the automatic reply {text}.;Set my auto reply to {text} until {until}.;Turn on an automatic reply: {text}.|
unsubscribe_list|Unsubscribe from a mailing list|list:email|Unsubscribe me from {list}.;I no longer want the list {list}, unsubscribe.;Can you unsubscribe from {list}?|
get_attachment|Get the attachment of an e-mail|id:id,name?:file|Get the attachment of email {id}.;Show the attachment {name} of email {id}.;What's the attachment of mail {id}?|path:file
react_to_message|React to a chat message|message:id,emoji:heart/smile/thumbs/star|React to message {message} with a {emoji}.;Put a {emoji} on the message {message}.;Give message {message} a {emoji}.|
pin_message|Pin a message in a chat|message:id|Pin the message {message}.;Can you pin message {message}?;Keep message {message} at the top, pin it.|
mute_channel|Mute a chat channel|channel:word,hours?:count|Mute the channel {channel}.;Mute {channel} for {hours} hours.;I do not want to hear from channel {channel}, mute it.|
create_channel|Create a chat channel|name:word,private?:boolean|Create the channel {name}.;Open a new channel called {name}.;Create the channel {name}, private {private}.|id:id
*set_presence|Set the presence shown to others|presence:busy/away/online|Set my presence to {presence}.;I am {presence} now, set my presence.;Show my presence as {presence}.|
send_fax|Send a fax to a number|number:phone,path:file|Fax {path} to {number}.;Send the file {path} as a fax to {number}.;Can you fax {number} the file {path}?|pages:integer
block_number|Block a phone number|number:phone|Block the number {number}.;Never let {number} call me again, block the number.;Can you block {number}?|
list_calls|List the last phone calls|limit?:count,missed_only?:boolean|Who called me?;Show my last {limit} calls.;List the phone calls, missed only {missed_only}.|callers:list
schedule_call|Schedule a phone call with a person|person:name,date:date,time:time|Schedule a call with {person} on {date} at {time}.;I want a phone call with {person} at {time} on {date}.;Plan a call to {person} for {date}, {time}.|id:id
*start_video_chat|Start a video chat with a person|person:name|Start a video chat with {person}.;Video chat with {person}, please.;I want to video chat with {person}.|link:url
send_postcard|Send a postcard to a person|person:name,text:text|Send a postcard to {person} saying {text}.;Send {person} the postcard {text}.;Postcard to {person}: {text}.|
update_contact|Change the phone number of a contact|name:name,phone:phone|{name} has the new number {phone}.;Change the phone of {name} to {phone}.;Set the phone number of the contact {name} to {phone}.|
delete_contact|Delete a contact|name:name|Delete the contact {name}.;Remove {name} from my contacts.;I no longer need the contact {name}.|
get_birthday|Get the birthday of a person|person:name|When is the birthday of {person}?;What's the birthday of {person}?;When was {person} born? I need the birthday.|date:date
"""

CALENDAR = """
reschedule_event|Move an event in the calendar to another time|id:id,date:date,time?:time|Move the event {id} to {date}.;Can you move event {id} to {date} at {time}?;Event {id} should be on {date} at {time}.|
find_event|Find an event in the calendar by its title|title:text|When is the event {title}?;Find {title} in my calendar.;On which day is my event {title}?|date:date,time:time
next_event|Get the next event in the calendar||What's next in my calendar?;What is my next event?;Show my next event.;Which event comes next?|title:phrase,time:time
accept_invitation|Accept an invitation|id:id|Accept the invitation {id}.;Say yes to invitation {id}.;I will come, accept invitation {id}.|
decline_invitation|Decline an invitation|id:id,reason?:text|Decline the invitation {id}.;Decline invitation {id} because {reason}.;I can't come, decline the invitation {id}.|
set_working_hours|Set the working hours of the calendar|start:time,end:time|Set my working hours from {start} to {end}.;I work from {start} to {end}, set the hours.;My working hours are {start} to {end}.|
*block_focus_time|Block focus time in the calendar|date:date,hours:count|Block {hours} hours of focus time on {date}.;I need {hours} hours of focus on {date}.;Focus time on {date}: {hours} hours.|
show_reminders|List the reminders||What are my reminders?;Show my reminders.;Which reminders do I have?;List all reminders.|reminders:list
show_tasks|List the tasks of the to-do list|status?:open/done|What's on my to-do list?;Show my {status} tasks.;List my tasks.;Which tasks are {status}?|tasks:list
delegate_task|Delegate a task to a person|id:id,person:name|Delegate the task {id} to {person}.;{person} should do task {id}.;Let {person} take over the task {id}.|
set_reminder|Set a reminder for a time|text:deed,time:time|Remind me to {text} at {time}.;Set a reminder to {text} at {time}.;At {time} I have to {text}, remind me.;Remind me at {time} to {text}.;I have to {text} at {time}, set a reminder.|id:id
remember_task|Remember something that is to do|task:deed|Remember to {task}.;Don't let me forget to {task}.;I have to {task}, remember it.;Remember that I want to {task}.|id:id
book_room|Book a meeting room|room:word,date:date,time:time|Book the room {room} on {date} at {time}.;I need the meeting room {room} at {time} on {date}.;Reserve room {room} for {date}, {time}.|booking:id
"""

FILES = """
get_file_info|Get the information about a file|path:file|Show the information about {path}.;What's known about the file {path}?;Give me the info of {path}.|bytes:integer,modified:date
find_file|Find a file by its name|name:file,folder?:folder|Where is the file {name}?;Find the file {name}.;Find {name} in the folder {folder}.;In which folder is {name}?|path:file
file_exists|Check if a file exists|path:file|Does the file {path} exist?;Is there a file {path}?;Check if {path} exists.|exists:boolean
diff_files|Compare two files|first:file,second:file|Compare {first} with {second}.;What's the difference between {first} and {second}?;Are the files {first} and {second} equal?|equal:boolean
replace_in_file|Replace a text in a file by another|path:file,old:text,new:text|Replace {old} by {new} in {path}.;In the file {path}, change {old} to {new}.;Put {new} in place of {old} in {path}.|count:integer
insert_line|Insert a line into a file|path:file,line:count,text:text|Insert {text} at line {line} of {path}.;Put {text} into {path} as line {line}.;Insert the line {text} at {line} in {path}.|
read_lines|Read some lines of a file|path:file,start:count,end:count|Read the lines {start} to {end} of {path}.;Show {path} from line {start} to line {end}.;What's in lines {start} to {end} of {path}?|text:sentence
first_lines|Show the first lines of a file|path:file,count:count|Show the first {count} lines of {path}.;What are the first {count} lines of {path}?;The first {count} lines of the file {path}, please.|text:sentence
count_words|Count the words of a file|path:file|How many words are in {path}?;Count the words in {path}.;How many words does the file {path} have?|words:integer
delete_folder|Delete a folder|path:folder|Delete the folder {path}.;Remove the folder {path}.;Get rid of the folder {path}.|
list_folders|List the folders in a folder|path:folder|Which folders are in {path}?;List the folders of {path}.;What folders does {path} have?|folders:list
folder_size|Get the size of a folder|path:folder|How big is the folder {path}?;What's the size of the folder {path}?;Size of the folder {path}?|bytes:integer
unzip_file|Unzip an archive into a folder|archive:file,folder:folder|Unzip {archive} into {folder}.;Extract {archive} to the folder {folder}.;Unzip the archive {archive} to {folder}.|
*encrypt_file|Encrypt a file with a password|path:file,password:chars|Encrypt {path} with the password {password}.;Please encrypt the file {path}, password {password}.;Use the password {password} to encrypt {path}.|
hash_file|Get the hash of a file|path:file,method?:md5/sha1/sha256|What's the hash of {path}?;Get the {method} hash of {path}.;Hash the file {path}.|hash:chars
convert_file|Convert a file to another format|path:file,format:pdf/docx/txt/html|Convert {path} to {format}.;Make a {format} file out of {path}, convert it.;I need the file {path} as {format}.|path:file
merge_files|Merge some files into one|files:files,target:file|Merge the files {files} into {target}.;Make one file {target} out of {files}.;Can you merge {files} into {target}?|
print_path|Print a file on a printer|path:file,printer?:word,copies?:count|Print {path}.;Print {path} on the printer {printer}.;I need {copies} printed copies of {path}.|job:id
scan_page|Scan a page to a file|path:file,color?:boolean|Scan the page to {path}.;Scan a page as {path}, color {color}.;Save the scan in {path}.|
backup_folder|Back up a folder|path:folder,target?:folder|Back up the folder {path}.;Make a backup of {path} in {target}.;Save a backup of the folder {path}.|id:id
restore_backup|Restore a backup|id:id|Restore the backup {id}.;Go back to the backup {id}.;Can you restore backup {id}?|
*sync_drive|Sync a drive with the cloud|drive:word|Sync the drive {drive}.;Please sync {drive} with the cloud.;The drive {drive} needs a sync.|
empty_trash|Empty the trash||Empty the trash.;Clear the trash, please.;Can you empty my trash?|
edit_file|Change a line of a file|path:file,line:count,text:text|Change line {line} of {path} to {text}.;Set line {line} in the file {path} to {text}.;Line {line} of {path} should be {text}.|
"""

CODE = """
run_script|Run a script|path:file,args?:list|Run the script {path}.;Run {path} with the arguments {args}.;Start the script {path}.|output:phrase
run_python|Run a line of Python code|code:text|Run the Python code {code}.;What does {code} give in Python?;Execute {code} in Python.|output:phrase
install_package|Install a package|name:word,version?:number|Install the package {name}.;Install {name} in version {version}.;I need the package {name}.|
remove_package|Remove a package|name:word|Remove the package {name}.;Uninstall {name}, the package.;Can you remove the package {name}?|
search_code|Search the code for a name|query:word,path?:folder|Where is {query} in the code?;Search the code for {query}.;Search the code in {path} for {query}.|files:list
find_definition|Find the definition of a function in the code|function:word|Where is the function {function} defined?;Find the definition of the function {function}.;Show the definition of {function} in the code.|file:file,line:integer
rename_symbol|Rename a function or variable in the code|old:word,new:word|Rename {old} to {new} in the code.;Call the function {old} {new} from now on.;In the code, {old} should be renamed to {new}.|count:integer
format_code|Format the code of a file|path:file|Format the code in {path}.;Run the code format on {path}.;Clean up the format of {path}.|
lint_file|Check the code of a file for errors|path:file|Check {path} for code errors.;Lint the code in {path}.;Are there errors in the code of {path}?|errors:integer
build_project|Build a project|project:word,mode?:debug/release|Build the project {project}.;Build {project} in {mode} mode.;Make a {mode} build of {project}.|status:word
deploy_app|Deploy an app to a server|app:word,target:staging/production|Deploy {app} to {target}.;Bring the app {app} to {target}.;Please deploy the app {app} on {target}.|version:chars
roll_back|Roll an app back to a version|app:word,version:number|Roll {app} back to version {version}.;Go back to version {version} of {app}.;Roll the app {app} back to {version}.|
git_status|Show the status of the repository||What's the git status?;Show the status of the repository.;Did I change anything in the repository?|changed:list
git_push|Push the commits to a branch|branch:word|Push to {branch}.;Push my commits to the branch {branch}.;Can you push the branch {branch}?|
git_log|Show the last commits|limit:count|Show the last {limit} commits.;What are the last {limit} commits?;Log of the last {limit} commits.|commits:list
switch_branch|Switch to another branch|branch:word|Switch to the branch {branch}.;Go to branch {branch}.;Check out the branch {branch}.|
merge_branch|Merge a branch into another|source:word,target:word|Merge {source} into {target}.;Merge the branch {source} into the branch {target}.;Bring {source} into {target} by a merge.|commit:chars
*revert_commit|Revert a commit|commit:chars|Revert the commit {commit}.;Undo commit {commit} with a revert.;Can you revert {commit}?|
list_issues|List the issues of a project|project:word,state?:open/closed|Which issues does {project} have?;Show the {state} issues of {project}.;List the issues of the project {project}.|issues:list
create_issue|Create an issue in a project|project:word,title:text|Create an issue {title} in {project}.;Open the issue {title} for the project {project}.;New issue in {project}: {title}.|number:integer
close_issue|Close an issue of a project|number:count|Close issue {number}.;Issue {number} is fixed, close it.;Can you close the issue {number}?|
add_reviewer|Add a reviewer to a change|change:id,person:name|Add {person} as a reviewer of {change}.;{person} should review the change {change}.;Ask {person} to be the reviewer of {change}.|
read_logs|Read the logs of a service|service:word,lines?:count|Show the logs of {service}.;What's in the logs of {service}?;Give me the last {lines} log lines of {service}.|text:sentence
check_service|Check if a service is running|service:word|Is the service {service} running?;Check the service {service}.;Is {service} up? Check the service.|running:boolean
scale_service|Scale a service to some replicas|service:word,replicas:count|Scale {service} to {replicas} replicas.;Run {replicas} replicas of {service}.;The service {service} needs {replicas} replicas.|
*drain_node|Drain a node of the cluster|node:word|Drain the node {node}.;Please drain {node} in the cluster.;The node {node} must be drained.|
get_metric|Get the value of a metric of a server|server:word,metric:cpu/memory/disk|What's the {metric} of the server {server}?;How much {metric} does {server} use?;Show the {metric} metric of the server {server}.|value:number
ping_host|Ping a host|host:url|Ping {host}.;Can you reach {host}? Ping it.;Send a ping to {host}.|ms:number
look_up_domain|Look up the address of a domain|domain:url|What's the address of {domain}?;Look up the domain {domain}.;Domain address of {domain}, please.|address:chars
create_api_key|Create an API key|name:word,days?:count|Create an API key called {name}.;I need an API key {name} for {days} days.;New API key with the name {name}.|key:chars
revoke_api_key|Revoke an API key|key:id|Revoke the API key {key}.;The key {key} is no longer safe, revoke it.;Take back the API key {key}.|
list_tables|List the tables of a database|database:word|Which tables are in {database}?;List the tables of the database {database}.;What tables does {database} have?|tables:list
count_rows|Count the rows of a table|table:word|How many rows are in the table {table}?;Count the rows of {table}.;What's the number of rows in {table}?|rows:integer
*drop_table|Drop a table of the database|table:word|Drop the table {table}.;Please drop {table} from the database.;The table {table} can go, drop it.|
"""

NUMBERS = """
divide_numbers|Divide two numbers|a:integer,b:integer|Divide {a} by {b}.;What's {a} divided by {b}?;How often does {b} go into {a}? Divide them.|result:number
subtract_numbers|Subtract a number from another|a:integer,b:integer|Subtract {b} from {a}.;What's {a} minus {b}?;Take {b} away from {a}, subtract.|result:integer
get_average|Get the average of some numbers|numbers:list|What's the average of {numbers}?;Take the average of {numbers}.;Average of {numbers}, please.|average:number
*get_median|Get the median of some numbers|numbers:list|What's the median of {numbers}?;Get me the median of {numbers}.;Median of {numbers}?|median:number
percent_of|Get a percentage of a number|percent:count,number:integer|What's {percent} percent of {number}?;How much is {percent} percent of {number}?;Take {percent} percent of {number}.|result:number
round_number|Round a number to some digits|number:number,digits:count|Round {number} to {digits} digits.;What's {number} rounded to {digits} digits?;Please round {number} to {digits} digits.|result:number
power_of|Raise a number to a power|base:integer,exponent:integer|What's {base} to the power of {exponent}?;Raise {base} to the power {exponent}.;Power: base {base}, exponent {exponent}.|result:integer
is_prime|Check if a number is prime|number:integer|Is {number} a prime?;Check if {number} is prime.;Is the number {number} prime or not?|prime:boolean
factor_number|Get the factors of a number|number:integer|What are the factors of {number}?;Factor {number}.;Which factors does {number} have?|factors:list
solve_equation|Solve an equation|equation:text|Solve {equation}.;What's the solution of {equation}?;Can you solve the equation {equation}?|solution:number
convert_temperature|Convert a temperature|value:number,to:celsius/fahrenheit/kelvin|What's {value} degrees in {to}?;Convert the temperature {value} to {to}.;How many degrees {to} is {value}?|value:number
convert_length|Convert a length to another unit|value:number,from:cm/inches/yards,to:cm/inches/yards|How many {to} are {value} {from}?;Convert the length of {value} {from} to {to}.;What's {value} {from} in {to}?|value:number
calculate_tip|Calculate the tip for a bill|bill:number,percent:count|What's a {percent} percent tip on {bill}?;How much tip is {percent} percent of a bill of {bill}?;Tip for {bill} at {percent} percent, please.|tip:number
split_bill|Split a bill among people|bill:number,people:count|Split the bill of {bill} among {people} people.;What does each pay if {people} people split {bill}?;We are {people} people with a bill of {bill}, split it.|share:number
calculate_loan|Calculate the monthly rate of a loan|amount:integer,rate:number,years:count|What's the monthly rate for a loan of {amount} at {rate} percent over {years} years?;Calculate a loan of {amount}, {rate} percent, {years} years.;A loan of {amount} for {years} years at {rate} percent costs what a month?|monthly:number
*calculate_bmi|Calculate the body mass index|weight:number,height:number|What's my body mass index at {weight} kg and {height} m?;Calculate the body mass index for weight {weight} and height {height}.;I weigh {weight} kg and I am {height} m tall, what's my body mass index?|index:number
draw_chart|Draw a chart of some values|values:list,kind:bar/line/pie|Draw a {kind} chart of {values}.;Show {values} as a {kind} chart.;Make a {kind} chart with the values {values}.|path:file
sort_list|Sort a list|items:list,order:ascending/descending|Sort {items} in {order} order.;Put the list {items} in {order} order.;Sort the items {items}, {order}.|items:list
pick_random|Pick one of some items at random|items:list|Pick one of {items} at random.;Choose at random from {items}.;Which of {items}? Pick at random.|item:word
"""

MONEY = """
crypto_price|Get the price of a crypto coin|coin:symbol|What's the price of the coin {coin}?;How much is one {coin} coin?;Crypto price of {coin}, please.|price:number
sell_stock|Sell shares of a stock|symbol:symbol,shares:count|Sell {shares} shares of {symbol}.;I want to sell {shares} {symbol} shares.;Get rid of {shares} shares of {symbol}, sell them.|order:id
get_dividend|Get the dividend of a stock|symbol:symbol|What's the dividend of {symbol}?;How much dividend does {symbol} pay?;Dividend of the stock {symbol}?|dividend:number
set_price_alert|Set an alert on the price of a stock|symbol:symbol,price:number|Alert me when {symbol} reaches {price}.;Set a price alert on {symbol} at {price}.;Tell me when the price of {symbol} is {price}, set an alert.|id:id
list_transactions|List the transactions of an account|account:id,limit?:count|Show the transactions of account {account}.;What are the last {limit} transactions on {account}?;List what went over account {account}.|amounts:list
log_expense|Log an expense|amount:number,category:food/travel/rent/fun|Log an expense of {amount} for {category}.;I spent {amount} on {category}.;Add {amount} to my {category} expenses.|
get_budget|Get the budget that is left for a category|category:food/travel/rent/fun|How much budget is left for {category}?;What's my {category} budget?;Is there budget left for {category}?|amount:number
set_budget|Set the budget of a category|category:food/travel/rent/fun,amount:integer|Set the {category} budget to {amount}.;My budget for {category} is {amount}.;Give {category} a budget of {amount}.|
freeze_card|Freeze a bank card|card:id|Freeze the card {card}.;I lost my card {card}, freeze it.;Can you freeze card {card}?|
pay_bill|Pay a bill|bill:id,account?:id|Pay the bill {bill}.;Pay bill {bill} from account {account}.;The bill {bill} is due, pay it.|
request_money|Ask a person for money|person:name,amount:number|Ask {person} for {amount}.;{person} owes me {amount}, request the money.;Request {amount} from {person}.|
*donate_money|Donate money to a charity|charity:text,amount:integer|Donate {amount} to {charity}.;I want to donate {amount} to the charity {charity}.;Give {charity} a donation of {amount}, please donate.|
get_tax_rate|Get the tax rate of a country|country:word,year?:count|What's the tax rate in {country}?;How high is the tax in {country}?;Tax rate of {country}, please.|percent:number
send_receipt|Send the receipt of an order|order:id,email:email|Send the receipt of order {order} to {email}.;{email} needs the receipt for {order}.;Mail the receipt of {order} to {email}.|
*exchange_points|Exchange bonus points for a gift|points:count,gift:text|Exchange {points} points for {gift}.;I want {gift} for {points} points, exchange them.;Use {points} bonus points for the gift {gift}.|
"""

TRANSLATION = """
*transcribe_audio|Write down what is said in an audio file|path:file,language?:language|Transcribe {path}.;Write down what is said in {path}.;What's said in the audio {path}?;Transcribe the {language} audio {path}.|text:sentence
read_aloud|Read a text aloud|text:text,voice?:male/female|Read {text} aloud.;Say {text} aloud with a {voice} voice.;Can you read {text} aloud?|
find_synonym|Find a synonym of a word|word:word|What's a synonym of {word}?;Give me another word for {word}, a synonym.;Find a synonym for {word}.|synonym:word
find_antonym|Find the opposite of a word in the dictionary|word:word|Find the antonym of {word}.;Look up the opposite of {word} in the dictionary.;Which word is the antonym of {word}?|antonym:word
*count_syllables|Count the syllables of a word|word:word|How many syllables does {word} have?;Count the syllables in {word}.;Syllables of {word}?|count:integer
pronounce_word|Show how a word is pronounced|word:word,language:language|How is {word} pronounced in {language}?;How do I pronounce the {language} word {word}?;Pronounce {word} in {language}.|sound:word
fix_grammar|Correct the grammar of a text|text:text|Correct the grammar of {text}.;Is the grammar of {text} right?;Fix the grammar in {text}.|text:sentence
change_case|Change the case of a text|text:text,case:upper/lower/title|Put {text} in {case} case.;Change {text} to {case} case.;Write {text} in {case} case.|text:phrase
reverse_text|Reverse a text|text:text|Reverse {text}.;What's {text} in reverse?;Write the text {text} backwards, reverse it.|text:phrase
count_characters|Count the characters of a text|text:text|How many characters are in {text}?;Count the characters of {text}.;How many characters does the text {text} have?|count:integer
encode_text|Encode a text|text:text,method:base64/hex/morse|Encode {text} in {method}.;What's {text} in {method}?;Turn the text {text} into {method}.|text:chars
find_key_terms|Find the key terms of a text|text:text|What are the key terms of {text}?;Find the key terms in {text}.;Which key terms does {text} have?|terms:list
"""

MEDIA = """
resume_music|Resume the music||Resume the music.;Go on with the music.;Keep playing the music, please.|
add_to_playlist|Add a song to a playlist|song:text,playlist:word|Add {song} to the playlist {playlist}.;Put {song} on my playlist {playlist}.;The song {song} should be on {playlist}.|
like_song|Mark a song as liked|song:text|I like the song {song}.;Mark {song} as liked.;Give the song {song} a like.|
shuffle_playlist|Play a playlist in random order|playlist:word|Shuffle the playlist {playlist}.;Play {playlist} in random order.;Can you shuffle my {playlist} playlist?|
find_lyrics|Find the lyrics of a song|song:text,artist?:name|What are the lyrics of {song}?;Find the lyrics of {song} by {artist}.;Lyrics for {song}, please.|text:sentence
*identify_song|Find out which song is in a recording|recording:file|Which song is in {recording}?;What's the song in the recording {recording}?;Can you identify the song on {recording}?|title:phrase
play_episode|Play an episode of a show|show:text,episode?:count|Play the newest episode of {show}.;Play episode {episode} of {show}.;I want to hear the show {show}.|
play_game|Start a game|game:text|Start the game {game}.;I want to play the game {game}.;Let's play {game}, start the game.|
change_channel|Change the channel of the television|channel:count|Switch to channel {channel}.;Put the television on channel {channel}.;Change the channel to {channel}.|
record_show|Record a show on the television|show:text,date?:date|Record the show {show}.;Record {show} on {date}.;I will miss {show}, record it.|
find_movie|Find movies of a genre|genre:comedy/drama/action/horror,year?:count|Find a {genre} movie.;Which {genre} movies are from {year}?;I feel like a {genre} movie.|movies:list
movie_times|Get the times of a movie at the cinema|movie:text,city:city|When does {movie} run in {city}?;What are the cinema times of {movie} in {city}?;Movie times for {movie} in {city}?|times:list
buy_ticket|Buy tickets for an event|event:text,count:count|Buy {count} tickets for {event}.;I want {count} tickets to {event}.;Get me {count} tickets for {event}.|order:id
crop_image|Crop an image|path:file,width:count,height:count|Crop {path} to {width} by {height}.;Cut the image {path} to width {width} and height {height}, crop it.;Crop the image {path}, width {width}, height {height}.|
*rotate_image|Rotate an image|path:file,degrees:count|Rotate {path} by {degrees} degrees.;Turn the image {path} by {degrees} degrees.;Please rotate the image {path} {degrees} degrees.|
*blur_face|Blur the faces in an image|path:file|Blur the faces in {path}.;Make the faces on {path} blurred.;Can you blur all faces of the image {path}?|
make_picture|Make a picture from a description|description:text,style?:photo/cartoon/drawing|Make a picture of {description}.;Paint me {description}, as a picture.;Make a {style} picture of {description}.|path:file
describe_image|Describe an image|path:file|What's in the image {path}?;Describe the image {path}.;What do you see on {path}? Describe it.|text:sentence
read_barcode|Read the barcode in an image|path:file|What's the barcode on {path}?;Read the barcode in {path}.;Barcode of the image {path}, please.|code:chars
trim_video|Trim a video|path:file,start:time,end:time|Trim {path} from {start} to {end}.;Keep only {start} to {end} of the video {path}.;Trim the video {path}, start {start}, end {end}.|path:file
add_subtitles|Add subtitles to a video|path:file,language:language|Add {language} subtitles to {path}.;The video {path} needs {language} subtitles.;Put subtitles in {language} on {path}.|path:file
*mix_tracks|Mix two tracks into one|first:file,second:file|Mix the tracks {first} and {second}.;Make a mix of {first} and {second}.;Can you mix {first} with the track {second}?|path:file
"""

HOME = """
dim_light|Dim the light in a room|room:room,percent:count|Dim the light in the {room} to {percent} percent.;Dim the {room} to {percent} percent.;Make the light of the {room} dimmer, {percent} percent.|
set_light_color|Set the color of the light in a room|room:room,color:red/green/blue/white|Make the light in the {room} {color}.;Set the {room} light to {color}.;I want {color} light in the {room}.|
unlock_door|Unlock a door|door:room|Unlock the {door} door.;Open the lock of the {door} door.;Please unlock the door of the {door}.|
open_garage|Open the garage||Open the garage.;Garage open, please.;Can you open the garage for me?|
open_window|Open the window in a room|room:room|Open the window in the {room}.;The {room} needs fresh air, open the window.;Window open in the {room}, please.|
start_washer|Start the washing machine|program:cotton/wool/quick,degrees?:count|Start the washing machine with the {program} program.;Wash {program} at {degrees} degrees.;Washing machine, {program} program, please.|minutes:integer
start_dishwasher|Start the dishwasher||Start the dishwasher.;Run the dishwasher, please.;The dishwasher is full, start it.|
set_oven|Set the oven to a temperature|degrees:count,minutes?:count|Set the oven to {degrees} degrees.;Heat the oven to {degrees} degrees for {minutes} minutes.;Oven at {degrees} degrees, please.|
make_coffee|Make some cups of coffee|cups:count,strength?:mild/medium/strong|Make {cups} cups of coffee.;I want {cups} cups of {strength} coffee.;Coffee, {cups} cups, please.|
*run_bath|Run a bath at a temperature|degrees:count|Run a bath at {degrees} degrees.;I want a bath of {degrees} degrees.;Bath, {degrees} degrees, please.|
set_fan_speed|Set the speed of the fan|room:room,speed:slow/medium/fast|Set the fan in the {room} to {speed}.;Fan in the {room}: {speed}.;Let the {room} fan run {speed}.|
get_room_temperature|Get the temperature in a room|room:room|How warm is it in the {room}?;What's the temperature in the {room}?;Temperature of the {room}?|degrees:number
check_camera|Show the picture of a camera|camera:room|Show me the {camera} camera.;What does the camera in the {camera} see?;Check the {camera} camera.|path:file
arm_security|Turn on the security system|mode:home/away/night|Turn on the security in {mode} mode.;Arm the security system, mode {mode}.;Set the security system to {mode}.|
get_energy_use|Get the energy use of a device|device:word|How much energy does the {device} use?;What's the energy use of the {device}?;Energy use of {device}, please.|kwh:number
turn_on_device|Turn on a device|device:word|Turn on the device {device}.;Switch the device {device} on.;Device {device} on, please.|
turn_off_device|Turn off a device|device:word|Turn off the device {device}.;Switch the device {device} off.;Device {device} off, please.|
activate_scene|Activate a scene of the home|scene:word|Activate the scene {scene}.;Set the home to the {scene} scene.;I want the scene {scene}.|
*feed_pet|Give a pet its food|pet:name,grams:count|Feed {pet} {grams} grams.;Give my pet {pet} {grams} grams of food.;The pet {pet} is hungry, feed it {grams} grams.|
call_repair|Call someone to repair a device|device:word,problem:text|The {device} has the problem {problem}, call a repair.;Call a repair for the {device} because of {problem}.;I need a repair of the {device}: {problem}.|ticket:id
mow_lawn|Start the robot that mows the lawn|minutes?:count|Mow the lawn.;Let the robot mow the lawn for {minutes} minutes.;The lawn is high, please mow it.|
*ring_doorbell|Ring the doorbell of a house|house:count|Ring the doorbell at house {house}.;Doorbell of house {house}, please.;Can you ring the doorbell of the house {house}?|
"""

TRAVEL = """
cancel_flight|Cancel the booking of a flight|booking:id|Cancel the flight {booking}.;I can't fly, cancel flight booking {booking}.;Please cancel my flight {booking}.|refund:number
check_in_flight|Check in for a flight|flight:flight,seat?:chars|Check me in for flight {flight}.;Check in for {flight} with the seat {seat}.;I want to check in to flight {flight}.|gate:chars
choose_seat|Choose a seat on a flight|flight:flight,seat:window/aisle/middle|I want a {seat} seat on {flight}.;Choose a {seat} seat for flight {flight}.;Seat on {flight}: {seat}, please.|seat:chars
add_baggage|Add bags to a flight booking|booking:id,bags:count|Add {bags} bags to booking {booking}.;I have {bags} bags for the flight {booking}.;{bags} more bags for {booking}, please add them.|
find_hotel|Find hotels in a city|city:city,stars?:count,price?:integer|Find a hotel in {city}.;Which hotels in {city} have {stars} stars?;Hotels in {city} under {price}, please.;Where can I sleep in {city}? Find a hotel.|hotels:list
cancel_hotel|Cancel the booking of a hotel|booking:id|Cancel the hotel {booking}.;Please cancel my hotel booking {booking}.;I no longer need the hotel {booking}.|
find_parking|Find a parking place near an address|address:text|Where can I park near {address}?;Find parking near {address}.;I need a parking place at {address}.|place:phrase
traffic_report|Get the traffic on a road|road:word|How is the traffic on {road}?;What's the traffic like on {road}?;Is there much traffic on the road {road}?|minutes:integer
train_times|Get the times of trains between two cities|from:city,to:city|When do trains go from {from} to {to}?;What's the next train from {from} to {to}?;Train times from {from} to {to}.|times:list
bus_arrival|Get the time when the next bus comes to a stop|stop:word,line?:count|When is the next bus at {stop}?;When does bus {line} come to the stop {stop}?;Next bus at the stop {stop}?|minutes:integer
plan_route|Plan a route with stops|stops:list|Plan a route over {stops}.;I want to visit {stops}, plan the route.;Route with the stops {stops}, please.|km:integer
rent_bike|Rent a bike at a station|station:word,hours:count|Rent a bike at {station} for {hours} hours.;I need a bike from the station {station} for {hours} hours.;Bike at {station}, {hours} hours.|code:id
*book_cruise|Book a cruise on a ship|ship:text,cabins:count|Book a cruise on {ship} with {cabins} cabins.;I want {cabins} cabins on the cruise ship {ship}.;Cruise on {ship}, {cabins} cabins, please.|booking:id
get_visa_info|Get the visa rules of a country|country:word,nationality:language|Do I need a visa for {country} as a {nationality} citizen?;What are the visa rules of {country} for {nationality} people?;Visa for {country}, nationality {nationality}?|needed:boolean
find_sights|Find the sights of a city|city:city,limit?:count|What are the sights of {city}?;What can I see in {city}?;Show me {limit} sights in {city}.|sights:list
find_gas_station|Find a gas station near a city|city:city,fuel?:diesel/petrol/electric|Where is a gas station in {city}?;Find {fuel} gas near {city}.;I need {fuel} in {city}, find a gas station.|address:phrase
charge_car|Charge the car up to a percentage|percent:count|Charge the car to {percent} percent.;My car should be charged to {percent} percent.;Charge my car until {percent} percent.|minutes:integer
lock_car|Lock the car||Lock the car.;Is my car locked? Lock it.;Please lock my car.|
warm_up_car|Warm up the car before a time|time:time|Warm up the car at {time}.;I drive at {time}, warm up the car.;The car should be warm at {time}.|
*find_charger|Find a charger for the car|city:city,power?:count|Where is a charger in {city}?;Find a charger with {power} kW in {city}.;Car charger in {city}, please.|address:phrase
share_location|Share the location with a person|person:name,minutes?:count|Share my location with {person}.;Let {person} see my location for {minutes} minutes.;Send {person} my location.|
find_nearby|Find places of a kind near here|kind:bank/pharmacy/cafe/school|Is there a {kind} near here?;Where is the next {kind}?;Find a {kind} near me.;I need a {kind} nearby.|places:list
get_elevation|Get the height of a place above the sea|place:city|How high is {place} above the sea?;What's the height of {place}?;Height of {place} above the sea, please.|meters:integer
get_population|Get the number of people in a city|city:city|How many people live in {city}?;What's the population of {city}?;Population of {city}, please.|people:integer
"""

FOOD = """
find_recipe|Find recipes with some foods|foods:list|What can I cook with {foods}?;Find a recipe with {foods}.;I have {foods}, find me a recipe.|recipe:phrase
get_calories|Get the calories of a food|food:word,grams?:count|How many calories does {food} have?;Calories in {grams} grams of {food}?;What are the calories of {food}?|calories:integer
log_meal|Log a meal|meal:breakfast/lunch/dinner,food:text|Log {food} for {meal}.;I had {food} for {meal}, log it.;My {meal} was {food}, log it.|
plan_meals|Plan the meals of some days|days:count,diet?:vegan/vegetarian/keto|Plan my meals for {days} days.;I need a {diet} meal plan for {days} days.;Make a meal plan of {days} days.|meals:list
scale_recipe|Scale a recipe to some people|recipe:id,people:count|Scale the recipe {recipe} to {people} people.;I cook {recipe} for {people} people, scale it.;Make the recipe {recipe} fit {people} people.|
order_groceries|Order groceries|items:list,store?:word|Order the groceries {items}.;Order {items} from the store {store}.;I need groceries: {items}.|order:id
order_pizza|Order a pizza|topping:cheese/ham/tuna/mushroom,size:small/medium/large|Order a {size} pizza with {topping}.;I want a {topping} pizza, {size}.;A {size} {topping} pizza, please.|minutes:integer
*pair_wine|Find a wine for a dish|dish:text|Which wine goes with {dish}?;Find a wine for {dish}.;What's a good wine with {dish}?|wine:word
shopping_list_remove|Remove an item from the shopping list|item:word|Remove {item} from the shopping list.;I no longer need {item} on the shopping list.;Take {item} off my shopping list.|
show_shopping_list|Show the shopping list||What's on my shopping list?;Show the shopping list.;What do I have to buy? Show my list.|items:list
leave_tip|Leave a tip for an order|order:id,amount:number|Leave a tip of {amount} for order {order}.;Tip {amount} on {order}.;Give order {order} a tip of {amount}.|
rate_restaurant|Rate a restaurant with stars|restaurant:text,stars:count|Give {restaurant} {stars} stars.;Rate the restaurant {restaurant} with {stars} stars.;{stars} stars for the restaurant {restaurant}.|
"""

HEALTH = """
log_sleep|Log the hours of sleep|hours:number|I slept {hours} hours.;Log {hours} hours of sleep.;My sleep was {hours} hours, log it.|
log_water|Log a drink of water|liters:number|I drank {liters} liters of water.;Log {liters} liters of water.;Add {liters} liters to my water log.|
*log_blood_pressure|Log the blood pressure|upper:count,lower:count|My blood pressure is {upper} over {lower}.;Log the blood pressure {upper} over {lower}.;Blood pressure: upper {upper}, lower {lower}.|
get_steps|Get the number of steps of a day|date:date|How many steps did I walk on {date}?;What are my steps of {date}?;Steps on {date}, please.|steps:integer
set_step_goal|Set the goal of steps a day|steps:count|Set my goal to {steps} steps.;I want to walk {steps} steps a day, set the goal.;My step goal is {steps}.|
get_heart_rate|Get the heart rate||What's my heart rate?;How fast is my heart?;Heart rate, please.;Show my heart rate.|rate:integer
book_doctor|Book a visit to a doctor|doctor:name,date:date,time?:time|Book a visit to doctor {doctor} on {date}.;I need to see doctor {doctor} on {date} at {time}.;Visit to the doctor {doctor} on {date}, please.|id:id
*book_massage|Book a massage|minutes:count,date:date|Book a massage of {minutes} minutes on {date}.;I want a {minutes} minute massage on {date}.;Massage on {date}, {minutes} minutes, please.|id:id
find_doctor|Find a doctor in a city|city:city,field?:skin/eyes/teeth/heart|Find a doctor in {city}.;I need a doctor for {field} in {city}.;Who is a good {field} doctor in {city}?|name:name
add_medication|Add a medication with its dose|name:word,dose:count,time?:time|Add the medication {name} with a dose of {dose}.;I take {dose} mg of {name} at {time}, add it.;New medication {name}, dose {dose}.|
refill_prescription|Refill a prescription|id:id|Refill the prescription {id}.;Prescription {id} is empty, refill it.;I need more of prescription {id}, please refill.|
check_symptoms|Check what some symptoms mean|symptoms:list|I have the symptoms {symptoms}.;What do the symptoms {symptoms} mean?;Check my symptoms: {symptoms}.|cause:word
call_emergency|Call emergency help|place:text,kind:police/fire/ambulance|Call the {kind} to {place}.;I need the {kind} at {place}, it's an emergency.;Emergency at {place}: {kind}.|
start_workout|Start a workout|sport:rowing/boxing/pilates,minutes:count|Start a {sport} workout of {minutes} minutes.;I want {minutes} minutes of {sport}.;Workout: {sport}, {minutes} minutes.|
*guide_meditation|Start a meditation|minutes:count|Start a meditation of {minutes} minutes.;I want to meditate for {minutes} minutes.;{minutes} minutes of meditation, please.|
"""

WORK = """
add_customer|Add a customer with a company|name:name,company:word|Add the customer {name} of {company}.;New customer {name}, company {company}.;Put {name} from {company} into my customers.|id:id
find_customer|Find a customer by e-mail|email:email|Which customer has the email {email}?;Find the customer {email}.;Who is the customer with {email}?|name:name
update_lead|Set the stage of a sales lead|lead:id,stage:new/warm/won/lost|Set the lead {lead} to {stage}.;The lead {lead} is {stage}.;Lead {lead} has the stage {stage} now.|
create_quote|Create a price quote for a client|client:name,items:list|Create a quote for {client} with {items}.;{client} wants a quote for {items}.;Make a quote on {items} for {client}.|id:id
refund_order|Refund an order|order:id,amount?:number|Refund the order {order}.;Give back {amount} for the order {order}, refund it.;The customer wants a refund of order {order}.|
ship_order|Ship an order|order:id,carrier:ups/dhl/fedex|Ship the order {order} with {carrier}.;Send order {order} out by {carrier}, ship it.;{carrier} should ship {order}.|tracking:id
check_stock|Check how many pieces of a product are in stock|product:id|How many {product} are in stock?;Is {product} in stock?;Check the stock of product {product}.|count:integer
restock_product|Order new stock of a product|product:id,count:count|Restock {product} with {count} pieces.;We need {count} more of the product {product}, restock it.;Get {count} new pieces of {product} in stock.|
set_price|Set the price of a product|product:id,price:number|Set the price of {product} to {price}.;The product {product} costs {price} now.;New price for {product}: {price}.|
apply_discount|Give a discount on an order|order:id,percent:count|Give {percent} percent discount on order {order}.;Take {percent} percent off {order}, a discount.;Order {order} gets a discount of {percent} percent.|total:number
create_coupon_code|Create a coupon with a code|code:chars,percent:count|Create the coupon {code} with {percent} percent.;New coupon {code}, {percent} percent off.;A coupon {code} of {percent} percent, please.|
hire_person|Hire a person for a role|person:name,role:word|Hire {person} as {role}.;{person} gets the role {role}, hire them.;We want {person} for the role {role}, please hire.|
set_salary|Set the salary of a person|person:name,amount:integer|Set the salary of {person} to {amount}.;{person} earns {amount} now, set the salary.;Salary for {person}: {amount}.|
get_org_chart|Show who works in a team|team:word|Who works in the team {team}?;Show the people of the team {team}.;Who's in team {team}?|people:list
start_survey|Start a survey with a question|question:text,options:list|Start a survey {question} with the options {options}.;Ask {question} in a survey, options {options}.;New survey {question}: {options}.|id:id
assign_shift|Give a shift to a person|person:name,day:day,shift:early/late/night|Give {person} the {shift} shift on {day}.;{person} works the {shift} shift {day}.;Shift for {person} {day}: {shift}.|
*stamp_passport|Stamp the passport of a traveler|passport:id|Stamp the passport {passport}.;Passport {passport} needs a stamp.;Put a stamp in the passport {passport}.|
sign_document|Sign a document|document:id,name:name|Sign the document {document} as {name}.;{name} signs document {document}.;Put the name {name} under document {document}, sign it.|
get_signature_status|Check if a document was signed|document:id|Was the document {document} signed?;What's the signature status of {document}?;Is document {document} signed?|signed:boolean
*rent_desk|Rent a desk in an office|office:word,days:count|Rent a desk in {office} for {days} days.;I need a desk at the office {office} for {days} days.;Desk in {office}, {days} days.|desk:id
"""

LEARNING = """
look_up_fact|Look up a topic in the encyclopedia|topic:text|Look up {topic} in the encyclopedia.;What does the encyclopedia say about {topic}?;Encyclopedia entry on {topic}, please.|text:sentence
find_book|Find books by an author|author:name|Which books are by {author}?;Find books by {author}.;What did the author {author} write? Find the books.|books:list
*borrow_book|Borrow a book from the library|book:text,days?:count|Borrow the book {book}.;I want to borrow {book} for {days} days.;Get me the book {book} from the library.|until:date
return_book|Return a book to the library|book:text|Return the book {book}.;I have read {book}, return it to the library.;Take the book {book} back.|
make_flashcard|Make a flashcard|front:text,back:text|Make a flashcard with {front} and {back}.;Flashcard: front {front}, back {back}.;Put {front} on the front and {back} on the back of a flashcard.|id:id
start_quiz|Start a quiz on a topic|topic:word,questions:count|Start a quiz on {topic} with {questions} questions.;Ask me {questions} quiz questions about {topic}.;Quiz me on {topic}, {questions} questions.|
grade_essay|Give a grade to an essay|essay:file|Grade the essay {essay}.;What grade does the essay {essay} get?;Which grade would you give {essay}?|grade:integer
enroll_course|Enroll a student in a course|student:name,course:word|Enroll {student} in {course}.;{student} wants to take the course {course}, enroll them.;Put {student} in the course {course}.|
find_paper|Find papers on a topic|topic:text,year?:count|Find papers on {topic}.;Which papers about {topic} are there?;Papers on {topic} from {year}, please.|papers:list
cite_paper|Make the citation of a paper|paper:id,style:apa/mla/chicago|Cite the paper {paper} in {style} style.;I need the {style} citation of {paper}.;How do I cite {paper} in {style}?|text:sentence
*explain_idiom|Explain the meaning of an idiom|idiom:text|Explain the idiom {idiom}.;What does the idiom {idiom} mean?;Meaning of the idiom {idiom}?|meaning:phrase
get_team_standing|Get the place of a team in the league|team:text|Where is {team} in the league?;What's the place of {team} in the league?;How does the team {team} stand?|place:integer
next_match|Get the next match of a team|team:text|When is the next match of {team}?;When does {team} play next?;Next match of {team}, please.|date:date
place_bet|Place a bet on a team|team:text,amount:integer|Bet {amount} on {team}.;I want to place a bet of {amount} on {team}.;Place {amount} on the team {team} as a bet.|id:id
follow_user|Follow a user|user:word|Follow the user {user}.;I want to follow {user}.;Can you follow {user} for me?|
write_post|Write a post|text:text,image?:file|Post {text} on my page.;Write a post {text} with the image {image}.;Write the post {text}.|id:id
like_post|Like a post|post:id|Like the post {post}.;Give the post {post} a like.;I like post {post}.|
get_followers|Get the number of followers of a user|user:word|How many followers does {user} have?;What's the number of followers of {user}?;Followers of {user}?|count:integer
trending_topics|Get the topics that are trending in a country|country:word|What's trending in {country}?;Which topics are trending in {country}?;Trending topics of {country}, please.|topics:list
tell_fortune|Get the horoscope of a sign|sign:aries/taurus/leo/virgo/libra|What's the horoscope for {sign}?;Horoscope of {sign}, please.;I am a {sign}, what does my horoscope say?|text:sentence
*adopt_animal|Adopt an animal from the shelter|animal:id|Adopt the animal {animal}.;I want to adopt {animal} from the shelter.;Give {animal} a home, adopt it.|
generate_name|Make up a name for something|thing:word,count?:count|Make up a name for a {thing}.;What's a good name for my {thing}? Make one up.;I need {count} names for a {thing}.|name:name
"""

AREAS = {"nature": NATURE, "time": TIME, "messages": MESSAGES, "calendar": CALENDAR, "files": FILES, "code": CODE,
         "numbers": NUMBERS, "money": MONEY, "translation": TRANSLATION, "media": MEDIA, "home": HOME, "travel": TRAVEL,
         "food": FOOD, "health": HEALTH, "work": WORK, "learning": LEARNING}
LINES = [line for text in AREAS.values() for line in text.strip().splitlines()]
