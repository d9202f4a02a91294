"""Further phrasings of the tools of families.py ("What's …", "Can you …", fragments), and how people bend a sentence."""

MORE_REQUESTS = """
get_weather|What's the weather like in {city}?;What's the weather in {city}?;How's the weather in {city}?;weather {city};Can you check the weather in {city}?;Is it nice weather in {city} today?;What's the weather going to be in {city}?
get_forecast|What's the forecast for {city} for the next {days} days?;{days} day forecast for {city};What will the next {days} days be like in {city}? I need the forecast.
get_air_quality|What's the air quality in {city}?;What's the air like in {city}?;air quality in {city}
get_time|What's the time in {city}?;Do you know the time in {city}?;time in {city};How late is it in {city} now? Tell me the time.
convert_timezone|What's {time} in {from} in {to} time?;{time} in {from} is what time in {to}?
set_timer|{minutes} minute timer;Can you set a timer for {minutes} minutes?;Start a {minutes} minute timer called {label}.;timer {minutes} minutes
set_alarm|Can you wake me at {time}?;alarm at {time};I have to get up at {time}, set an alarm.
add_reminder|Don't let me forget {text} at {time}, remind me.;reminder at {time}: {text}
read_email|What's in my {count} newest emails?;What are the last {count} emails that I got?
find_contact|What's the phone number of {name}?;What's the email of {name}?;contact {name}
create_event|I have {title} on {date} at {time}, put it in the calendar.;new event {title}, {date}, {time};Can you add the event {title} on {date}?
list_events|What's on my calendar on {date}?;What's happening on {date}? Look in the calendar.;What do I have on {date}?;Do I have any events on {date}?;events on {date}
delete_event|I can't make it, delete the event {id}.;Take event {id} out of the calendar.
find_free_slot|What's a free {minutes} minute slot on {date}?;Do I have {minutes} minutes free on {date}?
read_file|What's in the file {path}?;What's in {path}?;What's written in {path}?;Can you read {path}?;Print the text of {path}.;cat {path}
write_file|Create a file {path} with the text {content}.;Make a file {path} that says {content}.;Can you save {content} to {path}?
append_file|Add {content} to the end of {path}.;Can you append {content} to {path}?
copy_file|Copy the file {source} as {target}.;Can you copy {source} to {target}?;cp {source} {target}
list_files|What's in the folder {folder}?;What files do I have in {folder}?;Can you list the files of {folder}?;files in {folder}
list_directory|What's in the directory {path}?;ls {path};Which entries does the directory {path} have?
search_files|Which file has the text {query}?;In which files is {query}?;Where is {query} in my files?
file_size|What's the size of {path}?;How large is {path}?;size of {path}
count_lines|What's the number of lines in {path}?;line count of {path}
calculate|What's {expression}?;{expression} = ?;{expression};Can you calculate {expression}?;What do you get for {expression}?
calculator|What's {expression}?;{expression} = ?;{expression};Can you work out {expression}?;Use the calculator for {expression}.
add_numbers|What's {a} plus {b}?;What's the sum of {a} and {b}?;{a} plus {b}?
multiply_numbers|What's {a} times {b}?;{a} times {b}?
square_root|What's the square root of {x}?;square root of {x}
convert_currency|What's {amount} {from} in {to}?;{amount} {from} in {to}, please.;How many {to} do I get for {amount} {from}?
convert_units|What's {value} {from} in {to}?;How many {to} are {value} {from}?;{value} {from} to {to}
exchange_rate|What's the exchange rate from {base} to {quote}?;What's the rate of {base} to {quote}?
stock_price|What's the price of {symbol} stock?;What's {symbol} trading at? I want the stock price.;stock price {symbol};How is the {symbol} stock?
bank_balance|What's the balance of {account}?;What's on my account {account}?
translate_text|What's {text} in {language}?;Can you translate {text} into {language}?;{text} in {language}, please.
define_word|What's the meaning of {word}?;What's the definition of {word}?;meaning of {word}
set_volume|Can you set the volume to {level}?;volume {level};Make it louder, volume {level}.
turn_on_light|It's dark in the {room}, turn on the light.;{room} light on;Can you turn on the {room} light?
turn_off_light|{room} light off;Can you turn the light in the {room} off?
set_thermostat|It's cold, make it {degrees} degrees in the {room}.;{room} temperature to {degrees} degrees
book_flight|I need a flight from {from} to {to} on {date}.;flight {from} to {to} on {date}
flight_status|What's the status of {flight}?;When does {flight} land? Check the flight.
get_directions|What's the way from {from} to {to}?;What's the best way from {from} to {to}?
get_distance|What's the distance between {from} and {to}?;How many kilometers is it from {from} to {to}?
track_package|What's the status of package {number}?;Where's my package {number}?;Has the package {number} come?
product_price|What's the price of {product}?;What's {product} going to cost?
get_news|What's new on {topic}?;What's the latest news about {topic}?;news about {topic}
get_score|What's the score of {team}?;Did {team} win? Get the score.
get_user|What's the name of user {id}?;user {id}
get_recipe|What's the recipe for {dish}?;How is {dish} made? Give me the recipe.
find_restaurant|What's a good {cuisine} restaurant in {city}?;I'm hungry for {cuisine} food in {city}.;restaurants in {city}
web_search|What does the web say about {query}?;search {query} on the web
read_notes|What's in my notes on {topic}?;notes on {topic}
take_note|Can you write down {text}?;note: {text}
add_task|I have to do {title}, put it on my list of tasks.;task: {title};Can you add {title} to my tasks?
"""

IMPERATIVES = set("""Accept Activate Add Adopt Append Archive Arm Ask Assign Back Bill Blur Book Borrow Brew Bring Build
Buy Calculate Call Cancel Change Charge Check Choose Cite Clean Clear Clock Close Comment Commit Compare Compute Confirm
Convert Copy Correct Count Create Crop Cut Decline Define Delegate Delete Deploy Describe Detect Dim Divide Donate
Download Draw Drop Duplicate Email Empty Encode Encrypt Enroll Evaluate Execute Explain Export Extract Feed Fetch Find
Fix Flip Follow Format Forward Freeze Get Give Go Grade Hash Heat Hire Hold Insert Install Invite Keep Leave Like Lint
List Lock Log Look Mail Make Mark Merge Mix Move Multiply Mute Note Open Order Pause Pay Pick Pin Place Plan Play Post
Print Pronounce Push Put Raise Rate React Read Record Refill Refund Remove Rename Rent Repair Repeat Replace Reply
Report Request Reserve Reset Resize Restart Restock Restore Resume Return Reverse Revert Revoke Ring Roll Rotate Round
Run Save Scale Scan Schedule Search Sell Send Set Share Ship Show Shuffle Sign Skip Solve Sort Spell Split Stamp Start
Stop Subtract Summarize Switch Sync Tag Take Tell Text Transfer Translate Trim Tune Turn Uninstall Unlock Unsubscribe
Unzip Upload Use Wake Warm Wash Write""".split())
FRAMES = ("Can you {c}?", "Can you {c}?", "Could you {c}?", "Could you please {c}?", "Please {c}.", "I want you to {c}.",
          "I need you to {c}.", "I'd like you to {c}.", "{C}, please.", "Would you {c} for me?", "Can you please {c}?",
          "{C} for me.", "Go ahead and {c}.", "Hey, can you {c}?", "I would like to {c}.", "Now {c}.", "You should {c}.")
SHORTER = (("What is ", "What's "), ("How is ", "How's "), ("Where is ", "Where's "), ("Who is ", "Who's "),
           ("I am ", "I'm "), ("I would ", "I'd "), ("do not ", "don't "), ("cannot ", "can't "), ("It is ", "It's "))


def bend(template, rng):
    """A request as somebody else might say it; the words it is about stay."""
    first, _, rest = template.partition(" ")
    one = template.endswith(".") and not any(c in template[:-1] for c in ".?!;:") and not template.endswith("please.")
    if one and first in IMPERATIVES and rest and rng.random() < 0.4:
        c = template[0].lower() + template[1:-1]
        template = rng.choice(FRAMES).replace("{c}", c).replace("{C}", template[:-1])
    if rng.random() < 0.5:
        for long, short in SHORTER:
            template = template.replace(long, short)
    r = rng.random()
    if r < 0.08 and template[0].isalpha():
        template = template[0].lower() + template[1:]
    if r < 0.14 and template[-1] in ".?" and not template.endswith("}."):
        template = template[:-1]
    return template
