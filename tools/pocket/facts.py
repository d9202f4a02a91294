"""Questions of general knowledge, their answers and several ways to ask each.

A relation holds phrasings with {x} and an answer with {x} and {y}. A tenth of all pairs of fact
and phrasing are held out by hash: they are asked in the evaluation only.
"""
import zlib

CAPITALS = """France:Paris Germany:Berlin Italy:Rome Spain:Madrid Portugal:Lisbon England:London
Ireland:Dublin Scotland:Edinburgh Austria:Vienna Switzerland:Bern Belgium:Brussels
Poland:Warsaw Hungary:Budapest Romania:Bucharest Bulgaria:Sofia Greece:Athens Turkey:Ankara
Russia:Moscow Ukraine:Kyiv Finland:Helsinki Sweden:Stockholm Norway:Oslo Denmark:Copenhagen
Iceland:Reykjavik Estonia:Tallinn Latvia:Riga Lithuania:Vilnius Croatia:Zagreb Serbia:Belgrade
Slovenia:Ljubljana Slovakia:Bratislava Albania:Tirana Malta:Valletta Cyprus:Nicosia Japan:Tokyo
China:Beijing India:Delhi Thailand:Bangkok Vietnam:Hanoi Indonesia:Jakarta Mongolia:Ulaanbaatar
Nepal:Kathmandu Pakistan:Islamabad Iran:Tehran Iraq:Baghdad Israel:Jerusalem Jordan:Amman
Lebanon:Beirut Syria:Damascus Qatar:Doha Egypt:Cairo Morocco:Rabat Algeria:Algiers Tunisia:Tunis
Libya:Tripoli Kenya:Nairobi Ethiopia:Addis_Ababa Ghana:Accra Nigeria:Abuja Senegal:Dakar
Uganda:Kampala Zambia:Lusaka Zimbabwe:Harare Canada:Ottawa Mexico:Mexico_City Cuba:Havana
Jamaica:Kingston Peru:Lima Chile:Santiago Argentina:Buenos_Aires Brazil:Brasilia Colombia:Bogota
Ecuador:Quito Uruguay:Montevideo Venezuela:Caracas Australia:Canberra Fiji:Suva"""

CONTINENTS = """France:Europe Poland:Europe Norway:Europe Greece:Europe Italy:Europe Spain:Europe
Japan:Asia India:Asia China:Asia Thailand:Asia Vietnam:Asia Nepal:Asia Egypt:Africa Kenya:Africa
Ghana:Africa Nigeria:Africa Morocco:Africa Canada:North_America Mexico:North_America
Cuba:North_America Brazil:South_America Peru:South_America Chile:South_America
Argentina:South_America Ecuador:South_America"""

CURRENCIES = """Japan:yen India:rupee China:yuan Russia:ruble Poland:zloty Hungary:forint Sweden:krona
Switzerland:franc Mexico:peso Brazil:real Israel:shekel Thailand:baht Turkey:lira Vietnam:dong
Germany:euro Canada:dollar Ukraine:hryvnia Kenya:shilling Nigeria:naira Peru:sol Malaysia:ringgit"""

LANGUAGES = """Brazil:Portuguese Mexico:Spanish Austria:German Egypt:Arabic Iran:Persian Israel:Hebrew
Japan:Japanese Poland:Polish Greece:Greek Argentina:Spanish Italy:Italian Turkey:Turkish
Hungary:Hungarian Sweden:Swedish Iceland:Icelandic Thailand:Thai Vietnam:Vietnamese Cuba:Spanish"""

SYMBOLS = """hydrogen:H helium:He lithium:Li carbon:C nitrogen:N oxygen:O fluorine:F neon:Ne sodium:Na
magnesium:Mg aluminium:Al silicon:Si phosphorus:P sulfur:S chlorine:Cl argon:Ar potassium:K
calcium:Ca titanium:Ti iron:Fe nickel:Ni copper:Cu zinc:Zn silver:Ag tin:Sn iodine:I gold:Au
mercury:Hg lead:Pb uranium:U"""

AUTHORS = """Hamlet:William_Shakespeare Macbeth:William_Shakespeare Faust:Goethe 1984:George_Orwell
Animal_Farm:George_Orwell Dracula:Bram_Stoker Frankenstein:Mary_Shelley Emma:Jane_Austen
Pride_and_Prejudice:Jane_Austen Oliver_Twist:Charles_Dickens Great_Expectations:Charles_Dickens
War_and_Peace:Leo_Tolstoy Anna_Karenina:Leo_Tolstoy Don_Quixote:Miguel_de_Cervantes Ulysses:James_Joyce
The_Odyssey:Homer The_Iliad:Homer The_Hobbit:J._R._R._Tolkien Moby_Dick:Herman_Melville
The_Trial:Franz_Kafka The_Stranger:Albert_Camus Jane_Eyre:Charlotte_Bronte Walden:Henry_David_Thoreau
The_Jungle_Book:Rudyard_Kipling Les_Miserables:Victor_Hugo Candide:Voltaire Dune:Frank_Herbert
The_Divine_Comedy:Dante_Alighieri Peter_Pan:J._M._Barrie Treasure_Island:Robert_Louis_Stevenson"""

INVENTORS = """telephone:Alexander_Graham_Bell light_bulb:Thomas_Edison printing_press:Johannes_Gutenberg
dynamite:Alfred_Nobel radio:Guglielmo_Marconi World_Wide_Web:Tim_Berners-Lee lightning_rod:Benjamin_Franklin
telegraph:Samuel_Morse"""

PAINTERS = """Mona_Lisa:Leonardo_da_Vinci Starry_Night:Vincent_van_Gogh Guernica:Pablo_Picasso
The_Scream:Edvard_Munch Night_Watch:Rembrandt The_Kiss:Gustav_Klimt Water_Lilies:Claude_Monet
The_Birth_of_Venus:Sandro_Botticelli"""

WORLD_SERIES = """2000:New_York_Yankees 2001:Arizona_Diamondbacks 2002:Anaheim_Angels 2003:Florida_Marlins
2004:Boston_Red_Sox 2005:Chicago_White_Sox 2006:St._Louis_Cardinals 2007:Boston_Red_Sox
2008:Philadelphia_Phillies 2009:New_York_Yankees 2010:San_Francisco_Giants 2011:St._Louis_Cardinals
2012:San_Francisco_Giants 2013:Boston_Red_Sox 2014:San_Francisco_Giants 2015:Kansas_City_Royals
2016:Chicago_Cubs 2017:Houston_Astros 2018:Boston_Red_Sox 2019:Washington_Nationals
2020:Los_Angeles_Dodgers 2021:Atlanta_Braves 2022:Houston_Astros 2023:Texas_Rangers"""

WORLD_CUPS = """1990:Germany 1994:Brazil 1998:France 2002:Brazil 2006:Italy 2010:Spain 2014:Germany
2018:France 2022:Argentina"""

ANIMAL_YOUNG = """dog:puppy cat:kitten cow:calf horse:foal sheep:lamb goat:kid pig:piglet bear:cub lion:cub
duck:duckling frog:tadpole kangaroo:joey swan:cygnet deer:fawn"""

LEGS = "spider:8 ant:6 dog:4 bird:2 bee:6 cat:4 horse:4 crab:10 octopus:8_arms snake:0".replace("octopus:8_arms ", "")

OPPOSITES = """hot:cold big:small fast:slow up:down day:night old:young open:closed rich:poor happy:sad
early:late hard:soft high:low full:empty light:dark wet:dry strong:weak true:false near:far
first:last inside:outside"""

DAY_AFTER = "Monday:Tuesday Tuesday:Wednesday Wednesday:Thursday Thursday:Friday Friday:Saturday Saturday:Sunday Sunday:Monday"
MONTH_AFTER = """January:February February:March March:April April:May May:June June:July July:August
August:September September:October October:November November:December December:January"""

# (key of the thought, data, phrasings, answer)
RELATIONS = [
    ("the capital of {x}", CAPITALS, ["What is the capital of {x}?", "What's the capital of {x}?",
     "Which city is the capital of {x}?", "Name the capital of {x}.", "{x}'s capital is which city?",
     "Tell me the capital city of {x}.", "capital of {x}?", "What is the capital city of {x}?"],
     "The capital of {x} is {y}."),
    ("the continent of {x}", CONTINENTS, ["On which continent is {x}?", "Which continent is {x} on?",
     "What continent is {x} in?", "Name the continent of {x}.", "{x} is on which continent?"],
     "{x} is in {y}."),
    ("the currency of {x}", CURRENCIES, ["What is the currency of {x}?", "Which currency is used in {x}?",
     "What money do people use in {x}?", "Name the currency of {x}.", "What's the currency in {x}?"],
     "The currency of {x} is the {y}."),
    ("the language of {x}", LANGUAGES, ["What language is spoken in {x}?", "Which language do people speak in {x}?",
     "What is the main language of {x}?", "Name the language of {x}.", "In {x}, which language is spoken?"],
     "People in {x} speak {y}."),
    ("the symbol of {x}", SYMBOLS, ["What is the chemical symbol of {x}?", "What's the symbol for {x}?",
     "Which symbol does {x} have?", "Name the chemical symbol for {x}.", "What is the symbol of the element {x}?"],
     "The chemical symbol of {x} is {y}."),
    ("the author of {x}", AUTHORS, ["Who wrote {x}?", "Who is the author of {x}?", "Name the author of {x}.",
     "{x} was written by whom?", "Which writer wrote {x}?", "Who was the author of {x}?"],
     "{x} was written by {y}."),
    ("the inventor of the {x}", INVENTORS, ["Who invented the {x}?", "Who was the inventor of the {x}?",
     "Name the inventor of the {x}.", "The {x} was invented by whom?", "Who came up with the {x}?"],
     "The {x} was invented by {y}."),
    ("the painter of {x}", PAINTERS, ["Who painted {x}?", "Which artist painted {x}?", "Name the painter of {x}.",
     "{x} was painted by whom?", "Who is the painter of {x}?"], "{x} was painted by {y}."),
    ("the World Series of {x}", WORLD_SERIES, ["Who won the world series in {x}?", "Who won the World Series in {x}?",
     "Which team won the {x} World Series?", "Name the winner of the {x} World Series.",
     "Who won the {x} World Series?", "Which team was the World Series champion in {x}?"],
     "The {y} won the World Series in {x}."),
    ("the World Cup of {x}", WORLD_CUPS, ["Who won the World Cup in {x}?", "Which country won the {x} World Cup?",
     "Name the winner of the World Cup in {x}.", "Who won the {x} football World Cup?",
     "Which team won the World Cup in {x}?"], "{y} won the World Cup in {x}."),
    ("the young of a {x}", ANIMAL_YOUNG, ["What is a young {x} called?", "What do you call a baby {x}?",
     "What is the name for the young of a {x}?", "Name the young of a {x}.", "A baby {x} is called what?"],
     "A young {x} is called a {y}."),
    ("the legs of a {x}", LEGS, ["How many legs does a {x} have?", "What number of legs does a {x} have?",
     "A {x} has how many legs?", "Tell me how many legs a {x} has."], "A {x} has {y} legs."),
    ("the opposite of {x}", OPPOSITES, ["What is the opposite of {x}?", "What's the opposite of {x}?",
     "Name the opposite of {x}.", "Which word is the opposite of {x}?", "Give me the opposite of the word {x}."],
     "The opposite of {x} is {y}."),
    ("the day after {x}", DAY_AFTER, ["Which day comes after {x}?", "What day is after {x}?",
     "What is the day after {x}?", "Name the day that follows {x}."], "The day after {x} is {y}."),
    ("the month after {x}", MONTH_AFTER, ["Which month comes after {x}?", "What month is after {x}?",
     "What is the month after {x}?", "Name the month that follows {x}."], "The month after {x} is {y}."),
]

# thought key | answer | phrasings
SINGLES = """
the largest planet|The largest planet in the solar system is Jupiter.|What is the largest planet?;Which planet is the largest?;What's the biggest planet in the solar system?;Name the largest planet in our solar system.
the smallest planet|The smallest planet in the solar system is Mercury.|What is the smallest planet?;Which planet is the smallest?;What's the smallest planet in the solar system?;Name the smallest planet in our solar system.
the closest planet to the sun|Mercury is the closest planet to the sun.|Which planet is closest to the sun?;What planet is nearest to the sun?;Name the planet closest to the sun.;What is the closest planet to the sun?
the red planet|Mars is called the red planet.|Which planet is called the red planet?;What is the red planet?;Name the red planet.;Which planet is known as the red one?
the number of planets|There are eight planets in the solar system.|How many planets are in the solar system?;How many planets are there?;What is the number of planets in the solar system?;Tell me the number of planets.
the largest ocean|The largest ocean is the Pacific Ocean.|What is the largest ocean?;Which ocean is the biggest?;Name the largest ocean on Earth.;What's the biggest ocean in the world?
the longest river|The longest river in the world is the Nile.|What is the longest river?;Which river is the longest?;Name the longest river in the world.;What's the longest river on Earth?
the highest mountain|The highest mountain on Earth is Mount Everest.|What is the highest mountain?;Which mountain is the tallest?;Name the highest mountain in the world.;What's the tallest mountain on Earth?
the largest animal|The largest animal is the blue whale.|What is the largest animal?;Which animal is the biggest?;Name the largest animal on Earth.;What's the biggest animal in the world?
the fastest land animal|The fastest land animal is the cheetah.|What is the fastest land animal?;Which land animal is the fastest?;Name the fastest animal on land.;What's the fastest animal on land?
the tallest animal|The tallest animal is the giraffe.|What is the tallest animal?;Which animal is the tallest?;Name the tallest animal.;What's the tallest animal in the world?
the largest country|The largest country by area is Russia.|What is the largest country?;Which country is the biggest?;Name the largest country in the world.;What's the largest country by area?
the smallest country|The smallest country is Vatican City.|What is the smallest country?;Which country is the smallest?;Name the smallest country in the world.;What's the smallest country by area?
the largest desert|The largest hot desert is the Sahara.|What is the largest hot desert?;Which hot desert is the biggest?;Name the largest hot desert.;What's the biggest hot desert in the world?
the largest continent|The largest continent is Asia.|What is the largest continent?;Which continent is the biggest?;Name the largest continent.;What's the biggest continent?
the number of continents|There are seven continents.|How many continents are there?;What is the number of continents?;How many continents does Earth have?;Tell me the number of continents.
the boiling point of water|Water boils at 100 degrees Celsius.|At what temperature does water boil?;What is the boiling point of water?;When does water boil?;How hot is boiling water in Celsius?
the freezing point of water|Water freezes at 0 degrees Celsius.|At what temperature does water freeze?;What is the freezing point of water?;When does water freeze?;How cold is freezing water in Celsius?
the formula of water|The chemical formula of water is H2O.|What is the chemical formula of water?;What's the formula of water?;Name the chemical formula for water.;Which formula does water have?
the formula of table salt|The chemical formula of table salt is NaCl.|What is the chemical formula of table salt?;What's the formula of salt?;Name the chemical formula for salt.;Which formula does table salt have?
the speed of light|Light travels at about 300,000 kilometers per second.|What is the speed of light?;How fast is light?;How fast does light travel?;Tell me the speed of light.
the theory of relativity|Albert Einstein developed the theory of relativity.|Who developed the theory of relativity?;Who came up with relativity?;Name the physicist behind relativity.;The theory of relativity was developed by whom?
the discovery of gravity|Isaac Newton described the law of gravity.|Who discovered gravity?;Who described the law of gravity?;Name the scientist who described gravity.;The law of gravity was found by whom?
the theory of evolution|Charles Darwin proposed the theory of evolution.|Who proposed the theory of evolution?;Who came up with evolution?;Name the scientist behind evolution.;The theory of evolution was proposed by whom?
the discovery of penicillin|Alexander Fleming discovered penicillin.|Who discovered penicillin?;Name the discoverer of penicillin.;Penicillin was discovered by whom?;Which scientist found penicillin?
the discovery of radium|Marie Curie discovered radium.|Who discovered radium?;Name the discoverer of radium.;Radium was discovered by whom?;Which scientist found radium?
the first man on the moon|Neil Armstrong was the first man on the moon.|Who was the first man on the moon?;Who first walked on the moon?;Name the first person on the moon.;Which astronaut was first on the moon?
the year of the moon landing|The first moon landing was in 1969.|When was the first moon landing?;In what year did people land on the moon?;What year was the moon landing?;When did people first land on the moon?
the first human in space|Yuri Gagarin was the first human in space.|Who was the first human in space?;Who was the first person in space?;Name the first human in space.;Which person was first in space?
the first president of the United States|George Washington was the first president of the United States.|Who was the first president of the United States?;Who was the first US president?;Name the first president of the USA.;Which man was the first American president?
the end of the Second World War|The Second World War ended in 1945.|When did the Second World War end?;In what year did World War II end?;What year did the Second World War end?;When was the end of World War II?
the start of the First World War|The First World War began in 1914.|When did the First World War begin?;In what year did World War I start?;What year did the First World War begin?;When was the start of World War I?
the fall of the Berlin Wall|The Berlin Wall fell in 1989.|When did the Berlin Wall fall?;In what year did the Berlin Wall fall?;What year did the Berlin Wall come down?;When was the fall of the Berlin Wall?
the discovery of America|Christopher Columbus reached America in 1492.|When did Columbus reach America?;Who reached America in 1492?;In what year did Columbus sail to America?;When was America reached by Columbus?
the French Revolution|The French Revolution began in 1789.|When did the French Revolution begin?;In what year did the French Revolution start?;What year was the French Revolution?;When was the start of the French Revolution?
the days in a week|A week has seven days.|How many days are in a week?;How many days does a week have?;What is the number of days in a week?;Tell me how many days a week has.
the days in a year|A year has 365 days.|How many days are in a year?;How many days does a year have?;What is the number of days in a year?;Tell me how many days a year has.
the hours in a day|A day has 24 hours.|How many hours are in a day?;How many hours does a day have?;What is the number of hours in a day?;Tell me how many hours a day has.
the minutes in an hour|An hour has 60 minutes.|How many minutes are in an hour?;How many minutes does an hour have?;What is the number of minutes in an hour?;Tell me how many minutes an hour has.
the seconds in a minute|A minute has 60 seconds.|How many seconds are in a minute?;How many seconds does a minute have?;What is the number of seconds in a minute?;Tell me how many seconds a minute has.
the months in a year|A year has twelve months.|How many months are in a year?;How many months does a year have?;What is the number of months in a year?;Tell me how many months a year has.
the sides of a triangle|A triangle has three sides.|How many sides does a triangle have?;How many sides are in a triangle?;What is the number of sides of a triangle?;A triangle has how many sides?
the sides of a hexagon|A hexagon has six sides.|How many sides does a hexagon have?;How many sides are in a hexagon?;What is the number of sides of a hexagon?;A hexagon has how many sides?
the sides of a square|A square has four sides.|How many sides does a square have?;How many sides are in a square?;What is the number of sides of a square?;A square has how many sides?
the value of pi|Pi is about 3.14159.|What is pi?;What is the value of pi?;Tell me the value of pi.;How large is pi?
the color of the sky|The sky is blue.|What color is the sky?;What is the color of the sky?;Which color does the sky have?;Tell me the color of the sky.
the color of grass|Grass is green.|What color is grass?;What is the color of grass?;Which color does grass have?;Tell me the color of grass.
the color of a banana|A ripe banana is yellow.|What color is a banana?;What is the color of a ripe banana?;Which color does a banana have?;Tell me the color of a banana.
the colors of the rainbow|The colors of the rainbow are red, orange, yellow, green, blue, indigo and violet.|What are the colors of the rainbow?;Name the colors of the rainbow.;Which colors are in a rainbow?;List the colors of the rainbow.
the days of the week|The days of the week are Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.|What are the days of the week?;Name the days of the week.;List the days of the week.;Which days does a week have?
the seasons|The four seasons are spring, summer, autumn and winter.|What are the four seasons?;Name the seasons.;List the four seasons of the year.;Which seasons are there?
the primary colors|The primary colors are red, yellow and blue.|What are the primary colors?;Name the primary colors.;Which colors are primary?;List the three primary colors.
the national bird of the United States|The national bird of the United States is the bald eagle.|What is the national bird of the United States?;Which bird is the national bird of the USA?;Name the US national bird.;What's America's national bird?
the gas that plants take in|Plants take in carbon dioxide.|Which gas do plants take in?;What gas do plants absorb?;Name the gas that plants take in.;What do plants breathe in?
the organ that pumps blood|The heart pumps blood through the body.|Which organ pumps blood?;What organ pumps blood through the body?;Name the organ that pumps blood.;What pumps the blood in the body?
the bones of an adult|An adult human has 206 bones.|How many bones does an adult human have?;How many bones are in the human body?;What is the number of bones in an adult?;Tell me how many bones a human has.
the hardest natural material|Diamond is the hardest natural material.|What is the hardest natural material?;Which natural material is the hardest?;Name the hardest natural substance.;What's the hardest material in nature?
the main gas of the air|The air is mostly nitrogen.|What gas is most of the air?;What is the air mostly made of?;Name the main gas of the air.;Which gas makes up most of the air?
the star of the solar system|The star at the center of the solar system is the Sun.|Which star is at the center of the solar system?;What is the star of the solar system?;Name the star in our solar system.;What star do the planets orbit?
the moon of Earth|Earth has one moon.|How many moons does Earth have?;How many moons are around Earth?;What is the number of moons of Earth?;Tell me how many moons Earth has.
the city of the Eiffel Tower|The Eiffel Tower is in Paris.|Where is the Eiffel Tower?;In which city is the Eiffel Tower?;Which city has the Eiffel Tower?;Tell me where the Eiffel Tower is.
the city of the Colosseum|The Colosseum is in Rome.|Where is the Colosseum?;In which city is the Colosseum?;Which city has the Colosseum?;Tell me where the Colosseum is.
the city of Big Ben|Big Ben is in London.|Where is Big Ben?;In which city is Big Ben?;Which city has Big Ben?;Tell me where Big Ben is.
the city of the Statue of Liberty|The Statue of Liberty is in New York.|Where is the Statue of Liberty?;In which city is the Statue of Liberty?;Which city has the Statue of Liberty?;Tell me where the Statue of Liberty is.
the place of the pyramids of Giza|The pyramids of Giza are in Egypt.|Where are the pyramids of Giza?;In which country are the pyramids of Giza?;Which country has the pyramids of Giza?;Tell me where the pyramids of Giza are.
the place of the Great Wall|The Great Wall is in China.|Where is the Great Wall?;In which country is the Great Wall?;Which country has the Great Wall?;Tell me where the Great Wall is.
the place of the Taj Mahal|The Taj Mahal is in India.|Where is the Taj Mahal?;In which country is the Taj Mahal?;Which country has the Taj Mahal?;Tell me where the Taj Mahal is.
the place of Machu Picchu|Machu Picchu is in Peru.|Where is Machu Picchu?;In which country is Machu Picchu?;Which country has Machu Picchu?;Tell me where Machu Picchu is.
the composer of the Ninth Symphony|Ludwig van Beethoven composed the Ode to Joy.|Who composed the Ode to Joy?;Which composer wrote the Ode to Joy?;Name the composer of the Ode to Joy.;The Ode to Joy was composed by whom?
the composer of The Magic Flute|Wolfgang Amadeus Mozart composed The Magic Flute.|Who composed The Magic Flute?;Which composer wrote The Magic Flute?;Name the composer of The Magic Flute.;The Magic Flute was composed by whom?
the composer of The Four Seasons|Antonio Vivaldi composed The Four Seasons.|Who composed The Four Seasons?;Which composer wrote The Four Seasons?;Name the composer of The Four Seasons.;The Four Seasons was composed by whom?
the players of a soccer team|A soccer team has eleven players on the field.|How many players are on a soccer team?;How many players does a soccer team have?;What is the number of players on a soccer team?;A soccer team has how many players?
the strings of a violin|A violin has four strings.|How many strings does a violin have?;What is the number of strings on a violin?;A violin has how many strings?;Tell me how many strings a violin has.
the strings of a guitar|A guitar has six strings.|How many strings does a guitar have?;What is the number of strings on a guitar?;A guitar has how many strings?;Tell me how many strings a guitar has.
the keys of a piano|A piano has 88 keys.|How many keys does a piano have?;What is the number of keys on a piano?;A piano has how many keys?;Tell me how many keys a piano has.
the letters of the alphabet|The English alphabet has 26 letters.|How many letters are in the English alphabet?;How many letters does the alphabet have?;What is the number of letters in the alphabet?;Tell me how many letters the alphabet has.
the creator of Linux|Linus Torvalds created Linux.|Who created Linux?;Who made the Linux kernel?;Name the creator of Linux.;Linux was created by whom?
the creator of Python|Guido van Rossum created Python.|Who created Python?;Who made the Python language?;Name the creator of Python.;Python was created by whom?
the creator of C++|Bjarne Stroustrup created C++.|Who created C++?;Who made the C++ language?;Name the creator of C++.;C++ was created by whom?
the bits of a byte|A byte has eight bits.|How many bits are in a byte?;How many bits does a byte have?;What is the number of bits in a byte?;A byte has how many bits?
the meaning of CPU|CPU stands for central processing unit.|What does CPU stand for?;What is the meaning of CPU?;Tell me what CPU stands for.;CPU is short for what?
the meaning of HTTP|HTTP stands for Hypertext Transfer Protocol.|What does HTTP stand for?;What is the meaning of HTTP?;Tell me what HTTP stands for.;HTTP is short for what?
the meaning of GPU|GPU stands for graphics processing unit.|What does GPU stand for?;What is the meaning of GPU?;Tell me what GPU stands for.;GPU is short for what?
"""

WRAPPERS = ["{q}", "{q}", "{q}", "{q}", "Can you tell me? {q}", "Quick question: {q}", "Please answer: {q}", "Hi! {q}",
            "I have a question. {q}", "Hello. {q}", "{q} Thanks!", "{q} Please be brief.", "Answer this: {q}",
            "One question: {q}"]
THE_QUESTION = "Who won the world series in 2020?"


def _build():
    facts = []
    for key, data, phrasings, answer in RELATIONS:
        for pair in data.split():
            x, y = (p.replace("_", " ") for p in pair.split(":"))
            fill = lambda t: t.replace("{x}", x).replace("{y}", y)
            a = fill(answer)
            facts.append((fill(key), a[0].upper() + a[1:], [fill(p) for p in phrasings], y))
    for line in SINGLES.strip().splitlines():
        key, answer, phrasings = line.split("|")
        facts.append((key, answer, phrasings.split(";"), None))
    return facts


FACTS = _build()  # (what is asked, answer, phrasings, the value alone or None)


def held_phrasing(question):
    return question != THE_QUESTION and zlib.crc32(("q:" + question).encode()) % 10 < 2


TRAINED = []   # (fact number, question)
HELD = []
for _i, (_k, _a, _qs, _y) in enumerate(FACTS):
    _held = [q for q in _qs if held_phrasing(q)]
    if len(_held) == len(_qs):
        _held = _held[1:]
    if len(_qs) - len(_held) < 2:
        _held = _held[:-1]
    for _q in _qs:
        (HELD if _q in _held else TRAINED).append((_i, _q))
