"""Everyday tools: a hundred written one by one here, three hundred in everyday.py, and some thousand
made of an action and an object. Families that training never shows start with '*' or are chosen by hash.

A line is  name | description | parameters | requests | keys of the result.
A parameter is name:kind (kinds are the methods of Values, or a/b/c for an enum, or list), with ?
after the name when it may be left out. Text slots are quoted in the request.
"""
import copy
import zlib

import agents
import everyday
from phrasings import MORE_REQUESTS

WRITTEN = """
get_weather|Get the weather of a city|city:city,unit?:celsius/fahrenheit|What is the weather in {city}?;How is the weather in {city} today?;Tell me the weather for {city} in {unit}.;Weather in {city}, please.;Is the weather good in {city}?|temperature:integer,sky:word
get_forecast|Get the weather forecast for some days|city:city,days:count|What is the forecast for {city} for {days} days?;Give me a {days} day forecast for {city}.;I need the {days} day forecast of {city}.|forecast:word
get_air_quality|Get the air quality of a city|city:city|How is the air quality in {city}?;Check the air quality in {city}.;Is the air clean in {city}?|index:integer
get_sunrise|Get the time of sunrise and sunset|city:city,date?:date|When is the sunrise in {city}?;What time is sunset in {city} on {date}?;Sunrise time for {city}, please.|sunrise:time
get_time|Get the current time in a city|city:city|What time is it in {city}?;Tell me the current time in {city}.;What is the time in {city} now?|time:time
convert_timezone|Convert a time from one city to another|time:time,from:city,to:city|What is {time} in {from} in {to} time?;Convert {time} from {from} to {to}.;If it is {time} in {from}, what time is it in {to}?|time:time
set_timer|Set a timer for some minutes|minutes:count,label?:text|Set a timer for {minutes} minutes.;Start a {minutes} minute timer.;Timer for {minutes} minutes called {label}, please.;I need a timer of {minutes} minutes.|
*set_stopwatch|Start the stopwatch with a name|name:text|Start a stopwatch called {name}.;I want to start the stopwatch {name}.;Stopwatch {name}, please start it.|
set_alarm|Set an alarm at a time|time:time,day?:day|Wake me up at {time}.;Set an alarm for {time}.;I need an alarm at {time} on {day}.;Set the alarm to {time} {day}.|
cancel_alarm|Cancel the alarm at a time|time:time|Cancel the alarm at {time}.;I do not need the {time} alarm any more.;Turn off the {time} alarm.|
add_reminder|Add a reminder with a text and a time|text:text,time:time|Remind me at {time} to {text}.;Add a reminder {text} at {time}.;Please set a reminder at {time}: {text}.|
send_email|Send an e-mail to an address|to:email,subject:text,body?:text|Send an email to {to} with the subject {subject}.;Email {to} with subject {subject} and body {body}.;Write a mail to {to}, subject {subject}, body {body}.;Mail {to} about {subject}.|
read_email|Read the newest e-mails|count:count,unread_only?:boolean|Read my {count} newest emails.;Show me the last {count} mails.;What are my {count} newest emails?;Show the last {count} mails, unread only {unread_only}.|emails:list
search_email|Search the e-mails of a sender|sender:email|Find emails from {sender}.;Search my mail for messages by {sender}.;Did {sender} send me an email?|count:integer
forward_email|Forward an e-mail to another address|id:id,to:email|Forward email {id} to {to}.;Please forward the mail {id} to {to}.;Send email {id} on to {to}.|
send_sms|Send a text message to a phone number|number:phone,text:text|Send a text message to {number} saying {text}.;Text {number}: {text}.;Send {text} as a text to {number}.|
make_call|Call a person by phone|person:name|Call {person}.;Please phone {person}.;I want to call {person} now.;Give {person} a call.|
*leave_voicemail|Leave a voicemail for a person|person:name,text:text|Leave a voicemail for {person} saying {text}.;Leave {person} the voicemail {text}.;I want to leave {person} a voicemail: {text}.|
post_message|Post a message in a chat channel|channel:word,text:text|Post {text} in the channel {channel}.;Write {text} to channel {channel}.;Post a message in {channel}: {text}.|
add_contact|Add a contact with name and e-mail|name:name,email:email|Add {name} with the email {email} to my contacts.;New contact: {name}, {email}.;Save the contact {name}, email {email}.|
find_contact|Find a contact by name|name:name|Find the contact {name}.;What is the contact of {name}?;Look up {name} in my contacts.|phone:phone,email:email
create_event|Create an event in the calendar|title:text,date:date,time?:time|Create an event {title} on {date}.;Put {title} in my calendar on {date} at {time}.;Add {title} to the calendar for {date} at {time}.;New calendar event {title} on {date}.|id:id
list_events|List the events of a day in the calendar|date:date|What events are on {date}?;What is in my calendar on {date}?;List my events for {date}.;Show the calendar of {date}.|events:list
delete_event|Delete an event from the calendar|id:id|Delete the event {id}.;Remove event {id} from my calendar.;Please delete calendar event {id}.|
find_free_slot|Find a free slot in the calendar|date:date,minutes:count|Find a free slot of {minutes} minutes on {date}.;When am I free for {minutes} minutes on {date}?;I need a free {minutes} minute slot on {date}.|time:time
invite_guest|Invite a guest to an event|event:id,email:email|Invite {email} to event {event}.;Please invite the guest {email} to {event}.;Add {email} as a guest of event {event}.|
read_file|Read the text of a file|path:file|Read the file {path}.;What is in {path}?;Show me the file {path}.;Open {path} and read it.;What does the file {path} say?|content:content
write_file|Write text to a file|path:file,content:text|Write {content} to the file {path}.;Save {content} in {path}.;Put the text {content} into the file {path}.;Write a file {path} with the content {content}.|
append_file|Append text to a file|path:file,content:text|Append {content} to {path}.;Add the line {content} to the file {path}.;Append the text {content} to the end of {path}.|
delete_file|Delete a file|path:file|Delete the file {path}.;Remove {path}.;Please delete {path}.;Get rid of the file {path}.|
copy_file|Copy a file to another place|source:file,target:file|Copy {source} to {target}.;Make a copy of {source} at {target}.;Please copy the file {source} to {target}.|
move_file|Move a file to another place|source:file,target:file|Move {source} to {target}.;Please move the file {source} to {target}.;The file {source} should be moved to {target}.|
rename_file|Rename a file|path:file,name:file|Rename {path} to {name}.;Give the file {path} the new name {name}.;Please rename the file {path} to {name}.|
list_files|List the files in a folder|folder:folder|List the files in {folder}.;What files are in {folder}?;Show me the files of the folder {folder}.;Which files does {folder} hold?|files:files
list_directory|List a directory|path:folder|List the directory {path}.;What is in the directory {path}?;Show the directory {path}.|entries:files
make_folder|Make a new folder|path:folder|Make a folder {path}.;Create the folder {path}.;I need a new folder called {path}.|
search_files|Search the files for a text|query:text,folder?:folder|Search the files for {query}.;Which files contain {query}?;Find {query} in the files of {folder}.;Search {folder} for {query}.|files:files
file_size|Get the size of a file|path:file|How big is the file {path}?;What is the size of {path}?;Get the size of {path}.|bytes:integer
count_lines|Count the lines of a file|path:file|How many lines are in {path}?;Count the lines of {path}.;How many lines does {path} have?|lines:integer
*zip_files|Zip some files into an archive|files:list,archive:file|Zip the files {files} into {archive}.;Make a zip {archive} of the files {files}.|
download_file|Download a file from a url|url:url|Download {url}.;Please download the file at {url}.;Get the file from {url}.|path:file
open_url|Open a web page|url:url|Open {url}.;Go to the web page {url}.;Show me the page {url}.|title:phrase
fetch_page|Fetch the text of a web page|url:url|Fetch {url}.;What does the page {url} say?;Get the text of {url}.|text:sentence
web_search|Search the web|query:text,limit?:count|Search the web for {query}.;Look up {query} on the web.;Find {limit} web results for {query}.;Google {query}.|results:list
calculate|Calculate an arithmetic expression|expression:expression|What is {expression}?;Calculate {expression}.;How much is {expression}?;Compute {expression} for me.|result:integer
calculator|Evaluate a math expression|expression:expression|What is {expression}?;Calculate {expression}.;How much is {expression}?;Evaluate {expression}.|result:integer
add_numbers|Add two numbers|a:integer,b:integer|Add {a} and {b}.;What is the sum of {a} and {b}?;Add {a} to {b} please.|result:integer
multiply_numbers|Multiply two numbers|a:integer,b:integer|Multiply {a} by {b}.;What is {a} times {b}?;Multiply {a} and {b}.|result:integer
square_root|Get the square root of a number|x:integer|What is the square root of {x}?;Take the square root of {x}.;Square root of {x}, please.|root:number
convert_currency|Convert an amount of money to another currency|amount:integer,from:USD/EUR/GBP/JPY/CHF,to:USD/EUR/GBP/JPY/CHF|Convert {amount} {from} to {to}.;How much is {amount} {from} in {to}?;What are {amount} {from} worth in {to}?;Change {amount} {from} into {to}.|amount:number
convert_units|Convert a value between units|value:number,from:km/miles/meters/feet/kg/pounds,to:km/miles/meters/feet/kg/pounds|Convert {value} {from} to {to}.;How much is {value} {from} in {to}?;What are {value} {from} in {to}?|value:number
exchange_rate|Get the exchange rate of two currencies|base:USD/EUR/GBP/JPY,quote:USD/EUR/GBP/JPY|What is the exchange rate of {base} to {quote}?;Get the rate from {base} to {quote}.;Exchange rate {base} {quote}?|rate:number
stock_price|Get the price of a stock|symbol:symbol|What is the stock price of {symbol}?;How much is a {symbol} stock?;Get the price of the stock {symbol}.|price:number
*bond_yield|Get the yield of a bond|bond:symbol|What is the yield of the bond {bond}?;Get the bond yield of {bond}.;How high is the yield of {bond}?|yield:number
buy_stock|Buy shares of a stock|symbol:symbol,shares:count|Buy {shares} shares of {symbol}.;I want to buy {shares} shares of {symbol}.;Please buy {shares} {symbol} shares.|order:id
bank_balance|Get the balance of a bank account|account:id|What is the balance of account {account}?;How much money is on account {account}?;Show the balance of {account}.|balance:number
transfer_money|Transfer money to another account|to:id,amount:number|Transfer {amount} to account {to}.;Send {amount} to the account {to}.;Please transfer {amount} to {to}.|
translate_text|Translate a text into another language|text:text,language:language|Translate {text} into {language}.;How do you say {text} in {language}?;What is {text} in {language}?;Please translate {text} to {language}.|translation:phrase
detect_language|Detect the language of a text|text:text|Which language is {text}?;Detect the language of {text}.;In which language is the text {text}?|language:language
define_word|Get the definition of a word|word:word|What is the definition of {word}?;Define the word {word}.;What does the word {word} mean?|definition:phrase
*find_rhyme|Find a rhyme for a word|word:word|Find a rhyme for {word}.;Which word is a rhyme for {word}?;I need a rhyme for the word {word}.|rhyme:word
spell_check|Check the spelling of a text|text:text|Check the spelling of {text}.;Is the spelling of {text} right?;Spell check {text}.|errors:integer
summarize_text|Summarize a text|text:text|Summarize {text}.;Give me a summary of {text}.;Please sum up the text {text}.|summary:phrase
play_song|Play a song|title:text,artist?:name|Play the song {title}.;Play {title} by {artist}.;I want to hear {title}.;Put on the song {title} by {artist}.|
pause_music|Pause the music||Pause the music.;Stop the music for now.;Please pause my music.|
set_volume|Set the volume of the speaker|level:count|Set the volume to {level}.;Turn the volume to {level}.;Volume {level}, please.;Make the volume {level}.|
next_track|Skip to the next track||Skip this track.;Next track, please.;Play the next track.;Skip to the next one.|
create_playlist|Create a playlist with a name|name:text|Create a playlist called {name}.;Make a new playlist {name}.;I want a playlist named {name}.|id:id
play_movie|Play a movie on the television|title:text|Play the movie {title}.;I want to watch the movie {title}.;Put on {title} on the television.|
*tune_radio|Tune the radio to a frequency|frequency:number|Tune the radio to {frequency}.;Set the radio to the frequency {frequency}.;Radio on {frequency}, please.|
turn_on_light|Turn on the light in a room|room:room,brightness?:count|Turn on the light in the {room}.;Light on in the {room}, please.;Set the light in the {room} to {brightness}.;Switch on the {room} light.|
turn_off_light|Turn off the light in a room|room:room|Turn off the light in the {room}.;Light off in the {room}, please.;Switch off the {room} light.|
set_thermostat|Set the temperature of a room|room:room,degrees:count|Set the temperature in the {room} to {degrees} degrees.;Heat the {room} to {degrees} degrees.;Make it {degrees} degrees in the {room}.|
lock_door|Lock a door|door:room|Lock the {door} door.;Please lock the door of the {door}.;Is the {door} door locked? Lock it.|
*close_blinds|Close the blinds in a room|room:room|Close the blinds in the {room}.;Please close the {room} blinds.;Blinds in the {room}: close them.|
start_vacuum|Start the vacuum robot in a room|room:room|Vacuum the {room}.;Start the vacuum in the {room}.;Let the robot vacuum the {room}.|
book_flight|Book a flight between two cities|from:city,to:city,date:date|Book a flight from {from} to {to} on {date}.;I want to fly from {from} to {to} on {date}.;Get me a flight from {from} to {to} for {date}.|booking:id
search_flights|Search flights between two cities|from:city,to:city|Find flights from {from} to {to}.;Which flights go from {from} to {to}?;Search for flights from {from} to {to}.|flights:list
flight_status|Get the status of a flight|flight:flight|What is the status of flight {flight}?;Is flight {flight} on time?;Check the flight {flight}.|status:word
book_hotel|Book a hotel in a city|city:city,nights:count,date?:date|Book a hotel in {city} for {nights} nights.;I need a hotel in {city} for {nights} nights from {date}.;Get me a hotel for {nights} nights in {city}.|booking:id
book_table|Book a table in a restaurant|restaurant:text,people:count,time:time|Book a table at {restaurant} for {people} people at {time}.;Reserve a table for {people} at {restaurant} at {time}.;I want a table for {people} people in {restaurant} at {time}.|booking:id
find_restaurant|Find restaurants in a city|city:city,cuisine?:italian/chinese/indian/french/mexican/thai|Find a restaurant in {city}.;Where can I eat in {city}?;Find {cuisine} restaurants in {city}.;I want {cuisine} food in {city}.|restaurants:list
book_train|Book a train ticket|from:city,to:city,time?:time|Book a train from {from} to {to}.;I need a train ticket from {from} to {to} at {time}.;Train from {from} to {to}, please.|ticket:id
call_taxi|Call a taxi to an address|address:text|Call a taxi to {address}.;I need a taxi at {address}.;Please send a taxi to {address}.|minutes:integer
*rent_scooter|Rent a scooter at a station|station:text,minutes:count|Rent a scooter at {station} for {minutes} minutes.;I want to rent a scooter for {minutes} minutes at {station}.|code:id
rent_car|Rent a car in a city|city:city,days:count|Rent a car in {city} for {days} days.;I need a rental car for {days} days in {city}.;Get me a car in {city} for {days} days.|booking:id
get_directions|Get the way from one place to another|from:text,to:text,mode?:walking/driving/cycling|How do I get from {from} to {to}?;Show me the way from {from} to {to} by {mode}.;Directions from {from} to {to}, please.|minutes:integer
get_distance|Get the distance between two cities|from:city,to:city|How far is it from {from} to {to}?;What is the distance from {from} to {to}?;Distance between {from} and {to}?|km:integer
track_package|Track a package by its number|number:id|Where is my package {number}?;Track the package {number}.;What is the status of package {number}?|status:word
order_food|Order food from a restaurant|restaurant:text,items:list|Order {items} from {restaurant}.;I want to order {items} at {restaurant}.;Get me {items} from {restaurant}.|minutes:integer
order_product|Order a product from the shop|product:text,quantity:count|Order {quantity} of {product}.;Buy {quantity} pieces of {product}.;I want to order {product}, quantity {quantity}.|order:id
product_price|Get the price of a product|product:text|How much is {product}?;What is the price of {product}?;What does {product} cost?|price:number
return_order|Return an order|order:id,reason?:text|Return the order {order}.;I want to send back order {order} because {reason}.;Please return order {order}.|
shopping_list_add|Add items to the shopping list|items:list|Add {items} to the shopping list.;Put {items} on my shopping list.;I need to buy {items}, add them to the shopping list.|
get_recipe|Get a recipe for a dish|dish:text|How do I cook {dish}?;Give me a recipe for {dish}.;I need the recipe of {dish}.|minutes:integer
*water_plants|Water the plants in a room|room:room,liters?:number|Water the plants in the {room}.;Give the plants in the {room} {liters} liters of water.;The plants in the {room} need water.|
log_workout|Log a workout|sport:running/cycling/swimming/yoga,minutes:count|Log {minutes} minutes of {sport}.;I did {minutes} minutes of {sport}, log it.;Save my workout: {sport} for {minutes} minutes.|
log_weight|Log the body weight|kg:number|Log my weight as {kg} kg.;I weigh {kg} kg today, log it.;My weight is {kg} kg.|
*log_mood|Log the mood of the day|mood:happy/sad/tired/calm|Log my mood as {mood}.;My mood is {mood} today.;I feel {mood}, log the mood.|
get_news|Get the news on a topic|topic:word,limit?:count|What is the news on {topic}?;Get me the news about {topic}.;Show {limit} news on {topic}.|headline:sentence
get_score|Get the score of a team|team:text|What is the score of {team}?;How did {team} play?;Score of the team {team}?|score:integer
random_number|Get a random number between two limits|low:integer,high:integer|Give me a random number between {low} and {high}.;Pick a number from {low} to {high}.;Random number between {low} and {high}, please.|number:integer
flip_coin|Flip a coin||Flip a coin.;Heads or tails? Flip a coin.;Please flip a coin for me.|side:word
roll_dice|Roll dice|sides:count,count?:count|Roll a dice with {sides} sides.;Roll {count} dice with {sides} sides.;Please roll a {sides} sided dice.|total:integer
*draw_card|Draw cards from a deck|count:count|Draw {count} cards.;Draw {count} cards from the deck.;Please draw {count} cards for me.|cards:list
generate_password|Generate a password|length:count,symbols?:boolean|Generate a password of length {length}.;I need a password with {length} characters.;Make a password of length {length}, symbols {symbols}.|password:chars
shorten_url|Shorten a url|url:url|Shorten {url}.;Make a short link for {url}.;Give me a short url for {url}.|short:url
make_qr_code|Make a QR code of a text|text:text|Make a QR code of {text}.;I need a QR code for {text}.;Create a QR code with {text}.|path:file
take_photo|Take a photo with the camera|camera:front/back|Take a photo with the {camera} camera.;Use the {camera} camera to take a photo.;Photo with the {camera} camera, please.|path:file
resize_image|Resize an image|path:file,width:count,height:count|Resize {path} to {width} by {height}.;Make the image {path} {width} wide and {height} high.;Resize the image {path} to width {width} and height {height}.|
run_command|Run a command in the shell|command:text|Run the command {command}.;Execute {command} in the shell.;Please run {command}.|output:phrase
run_tests|Run the tests of a project|project:word|Run the tests of {project}.;Test the project {project}.;Please run the {project} tests.|passed:integer,failed:integer
git_commit|Commit the changes with a message|message:text|Commit with the message {message}.;Commit my changes: {message}.;Make a commit {message}.|commit:chars
create_branch|Create a branch|name:word|Create a branch called {name}.;Make a new branch {name}.;I need a branch {name}.|
*open_pull_request|Open a pull request|title:text,branch:word|Open a pull request {title} from the branch {branch}.;Make a pull request for branch {branch} with the title {title}.|number:integer
query_database|Run a query on the database|sql:text|Run the query {sql} on the database.;Query the database with {sql}.;Execute {sql} on the database.|rows:integer
restart_server|Restart a server|server:word|Restart the server {server}.;Please restart {server}.;The server {server} must be restarted.|
get_user|Get a user by id|id:id|Get the user {id}.;Who is user {id}?;Show me the user {id}.|name:name,email:email
create_user|Create a user with name and e-mail|name:name,email:email,admin?:boolean|Create a user {name} with the email {email}.;New user {name}, email {email}, admin {admin}.;Add a user {name} with {email}.|id:id
create_ticket|Create a support ticket|title:text,priority:low/medium/high|Create a ticket {title} with {priority} priority.;Open a {priority} priority ticket: {title}.;New support ticket {title}, priority {priority}.|id:id
close_ticket|Close a support ticket|id:id|Close the ticket {id}.;Ticket {id} is done, close it.;Please close support ticket {id}.|
*vote_poll|Vote in a poll|poll:id,choice:yes/no/maybe|Vote {choice} in the poll {poll}.;In poll {poll} I vote {choice}.;My vote in poll {poll} is {choice}.|
take_note|Take a note|text:text|Take a note: {text}.;Note down {text}.;Make a note that says {text}.;Write down {text}.|id:id
read_notes|Read the notes on a topic|topic:word|Read my notes on {topic}.;What do my notes say about {topic}?;Show the notes on {topic}.|notes:list
add_task|Add a task to the list|title:text,due?:date|Add the task {title}.;Put {title} on my to-do list.;New task {title}, due on {due}.;Add a task {title} for {due}.|id:id
complete_task|Mark a task as done|id:id|Task {id} is done.;Mark task {id} as done.;I finished the task {id}.|
"""

# action: description, parameters, requests, result keys; {o} is the object
ACTIONS = """
create|Create a new {o}|title:text|Create a new {o} called {title}.;Make a {o} named {title}.;I need a new {o} with the title {title}.;Start a {o} {title}.|id:id
delete|Delete a {o}|id:id|Delete the {o} {id}.;Remove {o} {id}.;Please get rid of {o} {id}.;I no longer need the {o} {id}, delete it.|
get|Get the details of a {o}|id:id|Show me the {o} {id}.;Get {o} {id}.;What are the details of {o} {id}?;Tell me more about the {o} {id}.|title:phrase,status:word
list|List the {o}s|limit?:count|List my {o}s.;Which {o}s do I have?;Show the last {limit} {o}s.;Give me a list of {limit} {o}s.|{o}s:list
search|Search the {o}s by text|query:text|Search my {o}s for {query}.;Find the {o}s with {query}.;Is there a {o} about {query}?;Look for {query} in the {o}s.|{o}s:list
rename|Rename a {o}|id:id,title:text|Rename the {o} {id} to {title}.;Give {o} {id} the new title {title}.;Change the title of {o} {id} to {title}.|
share|Share a {o} with a person|id:id,email:email|Share the {o} {id} with {email}.;Give {email} access to {o} {id}.;Please share {o} {id} with {email}.|
send|Send a {o} to an address|id:id,email:email|Send the {o} {id} to {email}.;Please send {o} {id} to {email}.;{email} needs {o} {id}, send it.|
cancel|Cancel a {o}|id:id|Cancel the {o} {id}.;I want to cancel {o} {id}.;Please cancel my {o} {id}.|
archive|Archive a {o}|id:id|Archive the {o} {id}.;Put {o} {id} in the archive.;Please archive {o} {id}.|
confirm|Confirm a {o}|id:id|Confirm the {o} {id}.;I want to confirm {o} {id}.;Please confirm my {o} {id}.|
rate|Rate a {o} with stars|id:id,stars:count|Rate the {o} {id} with {stars} stars.;Give {o} {id} {stars} stars.;I rate {o} {id} {stars} stars.|
assign|Assign a {o} to a person|id:id,person:name|Assign the {o} {id} to {person}.;{person} should take {o} {id}, assign it.;Give {o} {id} to {person}.|
move|Move a {o} to a folder|id:id,folder:folder|Move the {o} {id} to {folder}.;Put {o} {id} into the folder {folder}.;Please move {o} {id} to the folder {folder}.|
tag|Tag a {o}|id:id,tags:list|Tag the {o} {id} with {tags}.;Add the tags {tags} to {o} {id}.;Put the tags {tags} on {o} {id}.|
schedule|Schedule a {o}|title:text,date:date,time?:time|Schedule the {o} {title} for {date}.;Plan a {o} {title} on {date} at {time}.;Schedule a {o} called {title} on {date} at {time}.|id:id
count|Count the {o}s||How many {o}s do I have?;Count my {o}s.;What is the number of {o}s?|count:integer
export|Export the {o}s to a file|format:csv/json/pdf|Export my {o}s as {format}.;Save the {o}s as a {format} file.;I need the {o}s in {format} format.|path:file
print|Print a {o}|id:id,copies?:count|Print the {o} {id}.;Print {copies} copies of {o} {id}.;I need {copies} copies of the {o} {id} on paper.|
comment|Comment on a {o}|id:id,text:text|Comment {text} on the {o} {id}.;Add the comment {text} to {o} {id}.;Write {text} under {o} {id}.|
pay|Pay for a {o}|id:id,amount:number|Pay {amount} for the {o} {id}.;I want to pay {amount} for {o} {id}.;Please pay the {o} {id}, the amount is {amount}.|
set_priority|Set the priority of a {o}|id:id,priority:low/medium/high|Set the priority of {o} {id} to {priority}.;Give the {o} {id} {priority} priority.;{o} {id} has {priority} priority now.|
set_status|Set the status of a {o}|id:id,status:open/closed/waiting|Set the status of {o} {id} to {status}.;The {o} {id} is {status} now, set its status.;Mark the {o} {id} as {status}.|
duplicate|Duplicate a {o}|id:id|Duplicate the {o} {id}.;Make a copy of {o} {id}.;I need a second {o} like {id}, duplicate it.|id:id
upload|Upload a {o} from a file|path:file|Upload the {o} {path}.;Upload {path} as a {o}.;Please upload my {o} from {path}.|id:id
download|Download a {o}|id:id,format?:pdf/zip/txt|Download the {o} {id}.;Download {o} {id} as {format}.;Save the {o} {id} to my disk as {format}.|path:file
price|Get the price of a {o}|id:id|What is the price of {o} {id}?;How much is the {o} {id}?;What does {o} {id} cost?|price:number
compare|Compare two {o}s|first:id,second:id|Compare the {o}s {first} and {second}.;What differs between {o} {first} and {o} {second}?|difference:phrase
"""
OBJECTS = """note task event photo order invoice ticket message playlist song recipe expense project
document report meeting booking reservation subscription device alarm reminder bookmark article
book movie card account team poll survey course lesson product coupon customer workout goal
shipment package video album room seat trip file image post page contract payment loan""".split()
HELD_OBJECTS = "voucher podcast petition seminar blueprint itinerary newsletter warranty".split()

JSON_TYPES = {"integer": "integer", "count": "integer", "number": "number", "boolean": "boolean", "list": "array", "files": "array"}
QUOTED = ("text", "phrase", "sentence", "content")
CODE = ("command", "pattern", "glob")  # mostly in quotes or back-quotes


class Param:
    def __init__(self, spec):
        name, self.kind = spec.split(":")
        self.optional = name.endswith("?")
        self.name = name.rstrip("?")
        self.enum = self.kind.split("/") if "/" in self.kind else None

    def with_choices(self, choices):
        other = copy.copy(self)
        other.enum = list(dict.fromkeys(choices))
        return other

    def schema(self):
        if self.enum:
            return {"type": "string", "enum": list(self.enum)}
        if self.kind in ("list", "files"):
            return {"type": "array", "items": {"type": "string"}}
        return {"type": JSON_TYPES.get(self.kind, "string")}


def fill(text, o):
    """The object's name into a template, with the right article."""
    text = text.replace("{o}", o)
    return text.replace(f" a {o}", f" an {o}") if o[0] in "aeiou" and o != "user" else text


class Family:
    action = thing = area = kit = None  # action and thing of the made ones, area of the written ones

    def __init__(self, name, description, params, requests, results):
        self.held = name.startswith("*")
        self.name, self.description = name.lstrip("*"), description
        self.params = [Param(p) for p in params.split(",") if p]
        self.requests = requests.split(";")
        self.results = [r.split(":") for r in results.split(",") if r]


# names of this file's tools by area, so that a request can hold the tools of one purpose
OLD_AREAS = {
    "nature": "get_weather get_forecast get_air_quality get_sunrise",
    "time": "get_time convert_timezone set_timer set_stopwatch set_alarm cancel_alarm",
    "messages": "send_email read_email search_email forward_email send_sms make_call leave_voicemail post_message "
                "add_contact find_contact",
    "calendar": "add_reminder create_event list_events delete_event find_free_slot invite_guest add_task complete_task "
                "calculate take_note",
    "files": "read_file write_file append_file delete_file copy_file move_file rename_file list_files list_directory "
             "make_folder search_files file_size count_lines zip_files download_file calculator create_event list_events",
    "code": "read_file write_file list_directory search_files run_command run_tests git_commit create_branch "
            "open_pull_request query_database restart_server",
    "numbers": "calculate calculator add_numbers multiply_numbers square_root convert_currency convert_units random_number",
    "money": "exchange_rate stock_price bond_yield buy_stock bank_balance transfer_money convert_currency",
    "translation": "translate_text detect_language define_word find_rhyme spell_check summarize_text",
    "media": "play_song pause_music set_volume next_track create_playlist play_movie tune_radio resize_image take_photo",
    "home": "turn_on_light turn_off_light set_thermostat lock_door close_blinds start_vacuum water_plants",
    "travel": "book_flight search_flights flight_status book_hotel book_train call_taxi rent_scooter rent_car "
              "get_directions get_distance get_weather",
    "food": "book_table find_restaurant order_food shopping_list_add get_recipe",
    "health": "log_workout log_weight log_mood", "work": "create_ticket close_ticket order_product track_package",
    "learning": "web_search fetch_page get_news get_score vote_poll"}


def _written():
    families = [Family(*line.split("|")) for line in WRITTEN.strip().splitlines()]
    by_name = {f.name: f for f in families}
    for line in MORE_REQUESTS.strip().splitlines():
        name, requests = line.split("|")
        by_name[name].requests += requests.split(";")
    areas = {area: [by_name[n] for n in names.split()] for area, names in OLD_AREAS.items()}
    for area, text in everyday.AREAS.items():
        more = [Family(*line.split("|")) for line in text.strip().splitlines()]
        families += more
        areas[area] += more
    for area, members in areas.items():
        for f in members:
            f.area = f.area or area
    return families, areas


def _build():
    families = list(_WRITTEN)
    for line in ACTIONS.strip().splitlines():
        action, *rest = line.split("|")
        for o in OBJECTS + HELD_OBJECTS:
            many = action in ("list", "search", "count", "export", "compare")
            family = Family(f"{action}_{o}{'s' * many}", *(fill(part, o) for part in rest))
            family.action, family.thing = action, o
            family.requests = [r[0].upper() + r[1:] for r in family.requests]
            held_pair = zlib.crc32(family.name.encode()) % 10 == 0
            family.held = o in HELD_OBJECTS or held_pair
            families.append(family)
    seen, out = set(), []
    for f in families:
        if f.name not in seen:
            seen.add(f.name)
            out.append(f)
    return out


def _kits():
    kits = {}
    for kit, text in agents.KITS.items():
        kits[kit] = [Family(*line.split("|")) for line in text.strip().splitlines()]
        for f in kits[kit]:
            f.kit = kit
    return kits


KITS = _kits()
_WRITTEN, AREAS = _written()
FAMILIES = _build()
TRAINED = [f for f in FAMILIES if not f.held]
HELD = [f for f in FAMILIES if f.held]
WRITTEN_HELD = [f for f in HELD if f.action is None]
